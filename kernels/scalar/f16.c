/* IEEE half precision. */
#include <string.h>

#include "base/convert.h"
#include "kernels/scalar/gemm.h"
#include "kernels/scalar/table.h"

static float widen(const unsigned char *row, size_t i) {
    uint16_t half;
    memcpy(&half, row + i * sizeof half, sizeof half);
    return moe_float_of_f16(half);
}

static void widen_block(float *w, const unsigned char *row, size_t i, size_t n) {
    for (size_t j = 0; j < n; j++) w[j] = widen(row, i + j);
}

void moe_gemm_f16_scalar(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                         size_t first, size_t n_cols) {
    moe_gemm_by_dots(y, ld_y, x, w, first, n_cols, widen_block);
}

void moe_widen_f16_scalar(float *y, const struct moe_matrix *w, size_t r) {
    for (size_t i = 0; i < w->cols; i++) y[i] = widen(moe_matrix_row(w, r), i);
}
