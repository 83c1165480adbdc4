/* The dot product that defines the bits. One function for every format but those in pairs (pairs.c):
 * base/convert.c says what a weight is, base/matrix.h in which order a block of them is taken. */
#include <math.h>

#include "base/convert.h"
#include "kernels/scalar/lanes.h"
#include "kernels/scalar/table.h"

static float dot_in_lanes(const float *x, const struct moe_matrix *w, size_t r) {
    const enum moe_layout layout = moe_format_layout(w->format);
    const size_t block = moe_layout_block(layout);
    float lane[MOE_LANES] = {0};
    for (size_t i = 0; i < w->cols; i += block) {
        const size_t n = w->cols - i < block ? w->cols - i : block;
        float natural[MOE_QUADS_BLOCK], packed[MOE_QUADS_BLOCK] = {0};
        moe_matrix_widen_part(natural, w, r, i, n);
        for (size_t j = 0; j < n; j++) packed[moe_layout_place(layout, j)] = natural[j];
        for (size_t j = 0; j < block; j++)
            lane[j % MOE_LANES] = fmaf(packed[j], x[i + j], lane[j % MOE_LANES]);
    }
    return moe_tree_sum(lane, MOE_LANES);
}

void moe_gemm_scalar(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                     size_t first, size_t n_cols) {
    const bool in_pairs = moe_format_layout(w->format) == MOE_LAYOUT_PAIRS;
    float (*const dot)(const float *, const struct moe_matrix *, size_t) =
        in_pairs ? moe_dot_pairs_scalar : dot_in_lanes;
    for (size_t c = first; c < first + n_cols; c++)
        for (size_t i = 0; i < x->n; i++)
            y[i * ld_y + c] = dot(x->data + (x->index ? x->index[i] : i) * x->ld, w, c);
}

void moe_widen_scalar(float *y, const struct moe_matrix *w, size_t r) {
    moe_matrix_widen(y, w, r);
}
