#ifndef MOE_MODELS_QUANTIZATION_H
#define MOE_MODELS_QUANTIZATION_H
/* What config.json says of how weights are quantised. Which tensors are is told by the checkpoint alone
 * (models/storage.h); here is what their shapes leave open. */

#include "base/matrix.h"
#include "loader/json.h"
#include "loader/names.h"

/* Of one module as mlx-lm quantises it: groups of a row, their size and the bits of a code. */
struct moe_module_quantization {
    bool quantised;         /* false: its weights are plain, and the rest is unused */
    enum moe_format format; /* MXFP4, or one of the AFFINE ones */
    size_t group_size;      /* columns of a group, a multiple of 32 */
};

struct moe_quantization {
    bool mlx;        /* the settings of modules are there; FP8 and MXFP4 have none */
    char *file;      /* owned: config.json, for messages */
    const char *key; /* the one of config.json that was read, for messages */
    struct moe_module_quantization top, *modules; /* modules: what differs from top, owned */
    struct moe_names names;                       /* -> modules */
    char *strings;                                /* the names, owned */
};

/* Reads `quantization` (mlx-lm), or else `quantization_config` (with quant_method: transformers; without:
 * mlx-lm), of the object `config`. MOE_E_UNSUPPORTED names the key and the value that the engine does not
 * reproduce: another quant_method, block size, mode, group size or number of bits. Free with
 * moe_quantization_free; after a failure there is nothing to free. */
moe_status moe_quantization_read(struct moe_quantization *out, struct moe_json_value config, moe_error *err);
void moe_quantization_free(struct moe_quantization *q);

/* As if config.json, the one that *q was read from, said so of all modules as mlx-lm writes it. */
moe_status moe_quantization_replace(struct moe_quantization *q, enum moe_format format, size_t group_size,
                                    moe_error *err);

/* How `module` ("model.layers.0.mlp.gate") is quantised if it is: its own settings, or those of all.
 * Borrowed. Only with `mlx`. */
const struct moe_module_quantization *moe_quantization_module(const struct moe_quantization *q,
                                                              const char *module);

#endif
