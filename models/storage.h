#ifndef MOE_MODELS_STORAGE_H
#define MOE_MODELS_STORAGE_H
/* A matrix by its name, in whatever form a checkpoint stores it. For a matrix NAME of [rows, cols], or a
 * stack [n, rows, cols] (then every tensor has n in front), MODULE being NAME without ".weight":
 *
 * PLAIN   NAME F32, BF16 or F16.
 * MLX     MODULE.weight U32 [rows, cols * bits / 32] beside MODULE.scales [rows, cols / group_size]: F32,
 * BF16 or F16, with MODULE.biases alike, or (mode mxfp4) U8 without. NAME ends in ".weight". FP8     NAME
 * F8_E4M3 beside NAME_scale_inv F32, BF16 or F16, [ceil(rows / 128), ceil(cols / 128)]. MXFP4   NAME_blocks
 * U8 [rows, cols / 32, 16] beside NAME_scales U8 [rows, cols / 32]; no NAME; NAME does not end in ".weight".
 *
 * The tensors tell which it is, matrix by matrix; config.json must say the same of it. */

#include "models/quantization.h"
#include "models/source.h"

enum moe_storage_form {
    MOE_STORAGE_NONE, /* no tensor of any form */
    MOE_STORAGE_PLAIN,
    MOE_STORAGE_MLX,
    MOE_STORAGE_FP8,
    MOE_STORAGE_MXFP4
};

/* Of all that was handed over. */
struct moe_storage_totals {
    uint64_t n_parameters; /* weights, not the numbers that scale them */
    uint64_t n_bytes;      /* scales included */
};

struct moe_storage {
    const struct moe_source *source; /* both borrowed */
    const struct moe_quantization *quantization;
    struct moe_storage_totals totals;
    bool layouts[MOE_LAYOUT_COUNT]; /* of activations that some matrix wants */
};

enum moe_storage_form moe_storage_find(const struct moe_storage *st, const char *name);
/* Whether any form of it is there. */
bool moe_storage_has(const struct moe_storage *st, const char *name);

/* The matrix `name` [rows, cols] in out [1] if n_stacked is 0, or the n_stacked matrices of one tensor
 * [n_stacked, rows, cols] in out [n_stacked], each with its own scales. Borrowed from the source.
 * MOE_E_FORMAT, MOE_E_UNSUPPORTED: the message names the tensor that is missing or what is wrong with it, or
 * the key of config.json that is silent or says otherwise. */
moe_status moe_storage_get(struct moe_matrix *out, struct moe_storage *st, const char *name, size_t n_stacked,
                           size_t rows, size_t cols, moe_error *err);

/* The n numbers of the vector `name` [n] (a gain, a bias), PLAIN only, widened into out [n]. */
moe_status moe_storage_get_vector(float *out, struct moe_storage *st, const char *name, size_t n,
                                  moe_error *err);
/* The same where it has a shape of its own: [1, n], or a vector for each expert; out has their product. */
moe_status moe_storage_get_array(float *out, struct moe_storage *st, const char *name, const size_t *shape,
                                 size_t rank, moe_error *err);

#endif
