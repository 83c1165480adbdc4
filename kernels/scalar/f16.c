/* IEEE half precision: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
#include <string.h>

#include "kernels/scalar/gemm.h"
#include "kernels/scalar/table.h"

static float widen(const unsigned char *row, size_t i) {
    uint16_t half;
    memcpy(&half, row + i * sizeof half, sizeof half);
    const uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0) /* zero or subnormal: exact in fp32 */
        return (half & 0x8000 ? -1.0f : 1.0f) * ((float)fraction * 0x1p-24f);
    const uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
    const uint32_t bits = (uint32_t)(half & 0x8000) << 16 | wide << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
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
