#ifndef MOE_ENGINE_PACK_HEADER_H
#define MOE_ENGINE_PACK_HEADER_H
/* The header of a packed file. Its room is taken before anything is written, and it is written last. */

#include "loader/safetensors.h"

/* A tensor of the new file. */
struct moe_pack_output {
    const struct moe_tensor *source;
    const char *suffix; /* after the source's name; "" for a tensor that is copied */
    enum moe_dtype dtype;
    size_t rank, shape[MOE_MAX_RANK];
    size_t begin, n_bytes; /* from the data's beginning */
    uint64_t hash;
};

/* Bytes before the data of a file with these outputs, whatever their sizes and checksums turn out to be: a
 * multiple of 64. MOE_E_UNSUPPORTED if that is more than a header may have. `file` is for messages. */
moe_status moe_pack_header_measure(size_t *room, const char *file, const struct moe_pack_output *outputs,
                                   size_t n, moe_error *err);
/* All of these bytes in *out, which the caller frees. */
moe_status moe_pack_header_format(char **out, size_t room, const char *file,
                                  const struct moe_pack_output *outputs, size_t n, moe_error *err);

#endif
