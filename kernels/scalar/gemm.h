#ifndef MOE_KERNELS_SCALAR_GEMM_H
#define MOE_KERNELS_SCALAR_GEMM_H
/* The dot product that defines the bits, for any format. */

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/scalar/lanes.h"

/* Widens elements [i, i + n) of a row into w [MOE_LANES] in the packed order of the format's layout, n <=
 * MOE_LANES and i a multiple of it; the rest of w is zero already. */
typedef void moe_widen_block_fn(float *w, const unsigned char *row, size_t i, size_t n);

static inline float moe_dot(const float *x, const unsigned char *row, size_t k, moe_widen_block_fn *widen) {
    float lane[MOE_LANES] = {0};
    for (size_t i = 0; i < k; i += MOE_LANES) {
        float w[MOE_LANES] = {0};
        widen(w, row, i, k - i < MOE_LANES ? k - i : MOE_LANES);
        for (size_t l = 0; l < MOE_LANES; l++) lane[l] = fmaf(w[l], x[i + l], lane[l]);
    }
    return moe_tree_sum(lane, MOE_LANES);
}

static inline void moe_gemm_by_dots(float *y, size_t ld_y, const struct moe_rows *x,
                                    const struct moe_matrix *w, size_t first, size_t n_cols,
                                    moe_widen_block_fn *widen) {
    for (size_t c = first; c < first + n_cols; c++)
        for (size_t i = 0; i < x->n; i++)
            y[i * ld_y + c] =
                moe_dot(x->data + (x->index ? x->index[i] : i) * x->ld, moe_matrix_row(w, c), w->cols, widen);
}

#endif
