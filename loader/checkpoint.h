#ifndef MOE_LOADER_CHECKPOINT_H
#define MOE_LOADER_CHECKPOINT_H
/* One or many safetensors files of a directory, as one namespace of tensors (looked up by xxHash). */

#include "loader/safetensors.h"

struct moe_checkpoint; /* opaque */

/* `path` is a file *.safetensors, or a directory that holds model.safetensors, or
 * model.safetensors.index.json with its shards (weight_map names stay inside the directory; symbolic links
 * work). If both exist the single file is read, as transformers does. Every tensor of every file is found,
 * whether the index lists it or not; one that the index lists must be in the shard it names. */
moe_status moe_checkpoint_open(struct moe_checkpoint **out, const char *path, moe_error *err);
void moe_checkpoint_close(struct moe_checkpoint *ck); /* NULL is fine */
/* The file that says which tensors there are, for messages: the index, or the one safetensors file. */
const char *moe_checkpoint_listing(const struct moe_checkpoint *ck);
size_t moe_checkpoint_count(const struct moe_checkpoint *ck);
/* Tensor i, file by file, in the order of their data. */
const struct moe_tensor *moe_checkpoint_tensor(const struct moe_checkpoint *ck, size_t i);
/* NULL if there is none. */
const struct moe_tensor *moe_checkpoint_find(const struct moe_checkpoint *ck, const char *name);
/* The file that holds a tensor found here, for messages. */
const char *moe_checkpoint_file(const struct moe_checkpoint *ck, const struct moe_tensor *t);
/* As moe_safetensors_read; t was found here. */
moe_status moe_checkpoint_read(const struct moe_checkpoint *ck, const struct moe_tensor *t, void *bytes,
                               size_t n, size_t offset, moe_error *err);
/* MOE_E_IO if one of the files is shorter than when it was mapped. */
moe_status moe_checkpoint_check(const struct moe_checkpoint *ck, moe_error *err);

#endif
