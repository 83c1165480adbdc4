/* bfloat16. A vector of 32-bit words is VEC even elements and VEC odd ones: a unit of layout EVEN_ODD. */
#include "kernels/simd/fp32.h"

enum { WEIGHT_BYTES = 2 };

MOE_INLINE vec load_half(const unsigned char *block, size_t u, const int half) {
    return half_of(w_load32(block + u * sizeof(vec)), half);
}

#include "kernels/simd/plain.h"

void MOE_NAME(gemm_bf16)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                         size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

void MOE_NAME(widen_bf16)(float *y, const struct moe_matrix *w, size_t r) {
    const unsigned char *row = moe_matrix_row(w, r);
    unsigned char room[VEC * WEIGHT_BYTES] = {0};
    size_t i = 0;
    for (; i + VEC <= w->cols; i += VEC) v_store(y + i, v_from_bf16(row + i * WEIGHT_BYTES));
    memcpy(room, row + i * WEIGHT_BYTES, (w->cols - i) * WEIGHT_BYTES);
    v_store_n(y + i, v_from_bf16(room), w->cols - i);
}
