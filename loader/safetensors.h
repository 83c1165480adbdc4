#ifndef MOE_LOADER_SAFETENSORS_H
#define MOE_LOADER_SAFETENSORS_H
/* One mapped safetensors file. Every field of its header is checked before it is believed: see
 * docs/loader.md. */

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { MOE_MAX_RANK = 8 };

/* Every dtype of the format; most are known only so that their sizes can be checked. */
enum moe_dtype {
#define MOE_DTYPE(id, bits) MOE_DTYPE_##id,
#include "loader/dtype.def"
#undef MOE_DTYPE
    MOE_DTYPE_COUNT
};
const char *moe_dtype_name(enum moe_dtype d);
size_t moe_dtype_bits(enum moe_dtype d);
/* The dtype written `name` in a header, exact case; false if there is none. */
bool moe_dtype_find(enum moe_dtype *out, const char *name);

struct moe_tensor {
    const char *name; /* owned by the file */
    enum moe_dtype dtype;
    size_t rank, shape[MOE_MAX_RANK];
    size_t n_bytes;   /* shape and dtype agree with it */
    const void *data; /* borrowed from the map; any alignment */
};

struct moe_safetensors; /* opaque */

/* Maps and checks a regular file, which stays open: moe_safetensors_check sees a truncation. MOE_E_IO,
 * MOE_E_FORMAT, MOE_E_MEMORY, or MOE_E_UNSUPPORTED (rank above MOE_MAX_RANK). */
moe_status moe_safetensors_open(struct moe_safetensors **out, const char *file, moe_error *err);
void moe_safetensors_close(struct moe_safetensors *st); /* NULL is fine */
size_t moe_safetensors_count(const struct moe_safetensors *st);
/* Tensor i, in the order of their data. */
const struct moe_tensor *moe_safetensors_tensor(const struct moe_safetensors *st, size_t i);
const char *moe_safetensors_file(const struct moe_safetensors *st);
/* Bytes of the file when it was opened. */
size_t moe_safetensors_size(const struct moe_safetensors *st);
/* Bytes [n] of tensor t from `offset` on, read instead of mapped: a file that was cut short meanwhile, or
 * that the disk does not give, is MOE_E_IO. */
moe_status moe_safetensors_read(const struct moe_safetensors *st, const struct moe_tensor *t, void *bytes,
                                size_t n, size_t offset, moe_error *err);
/* Value of a key of __metadata__, or NULL. */
const char *moe_safetensors_metadata(const struct moe_safetensors *st, const char *key);
/* MOE_E_IO if the file is shorter than when it was mapped. */
moe_status moe_safetensors_check(const struct moe_safetensors *st, moe_error *err);

#endif
