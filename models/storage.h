#ifndef MOE_MODELS_STORAGE_H
#define MOE_MODELS_STORAGE_H
/* A matrix by its name, in whatever form a checkpoint stores it. Of a matrix NAME [rows, cols], MODULE being
 * NAME without ".weight":
 *
 * PLAIN  NAME [rows, cols], F32, BF16 or F16.
 * MLX    MODULE.weight [rows, cols * bits / 32], U32, with MODULE.scales and MODULE.biases, each
 *        [rows, cols / group_size], of one dtype, F32, BF16 or F16; in mode mxfp4 scales U8, no biases.
 *        Only if NAME ends in ".weight".
 * FP8    NAME [rows, cols], F8_E4M3, with NAME_scale_inv [ceil(rows / 128), ceil(cols / 128)], F32, BF16
 *        or F16.
 * MXFP4  NAME_blocks [rows, cols / 32, 16] and NAME_scales [rows, cols / 32], both U8; there is no NAME.
 *        Only if NAME does not end in ".weight".
 * PACKED NAME_packed and NAME_escapes, both U8; there is no NAME (models/packed_tensor.h).
 *
 * A stack of n matrices is the same, each tensor with n in front of its shape. The tensors tell which form it
 * is, matrix by matrix; of MLX config.json must say the bits and the group size. */

#include "models/quantization.h"
#include "models/source.h"

enum moe_storage_form {
    MOE_STORAGE_NONE, /* no tensor of any form */
    MOE_STORAGE_PLAIN,
    MOE_STORAGE_MLX,
    MOE_STORAGE_FP8,
    MOE_STORAGE_MXFP4,
    MOE_STORAGE_PACKED
};

/* Of all that was handed over so far. */
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

/* The form of a matrix, by the names and dtypes of what is there; of several the first of MLX, MXFP4, FP8,
 * PLAIN. */
enum moe_storage_form moe_storage_find(const struct moe_storage *st, const char *name);
/* Whether any form of it is there. */
bool moe_storage_has(const struct moe_storage *st, const char *name);

/* The matrix `name` [rows, cols] in out [1] if n_stacked is 0, or the n_stacked matrices of one tensor
 * [n_stacked, rows, cols] in out [n_stacked], each with its own scales. Borrowed from the source.
 * MOE_E_FORMAT, MOE_E_UNSUPPORTED: the message names the tensor that is missing or what is wrong with it, or
 * the key of config.json that is silent or says otherwise. */
moe_status moe_storage_get(struct moe_matrix *out, struct moe_storage *st, const char *name, size_t n_stacked,
                           size_t rows, size_t cols, moe_error *err);

/* The numbers of an array of that shape, PLAIN only, as one row: a view of the source. */
moe_status moe_storage_get_row(struct moe_matrix *out, struct moe_storage *st, const char *name,
                               const size_t *shape, size_t rank, moe_error *err);
/* The n numbers of the vector `name` [n] (a gain, a bias), PLAIN only, widened into out [n]. */
moe_status moe_storage_get_vector(float *out, struct moe_storage *st, const char *name, size_t n,
                                  moe_error *err);
/* The same where it has a shape of its own: [1, n], or a vector for each expert; out has their product. */
moe_status moe_storage_get_array(float *out, struct moe_storage *st, const char *name, const size_t *shape,
                                 size_t rank, moe_error *err);

#endif
