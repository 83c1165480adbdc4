/* IEEE single precision. */
#include <string.h>

#include "kernels/scalar/gemm.h"
#include "kernels/scalar/table.h"

static void widen_block(float *w, const unsigned char *row, size_t i, size_t n) {
    memcpy(w, row + i * sizeof *w, n * sizeof *w);
}

void moe_gemm_f32_scalar(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                         size_t first, size_t n_cols) {
    moe_gemm_by_dots(y, ld_y, x, w, first, n_cols, widen_block);
}

void moe_widen_f32_scalar(float *y, const struct moe_matrix *w, size_t r) {
    memcpy(y, moe_matrix_row(w, r), w->cols * sizeof *y);
}
