/* bfloat16 weights by activations in bf16. */
#include "kernels/simd/pairs.h"

enum { WEIGHT_BYTES = 2 };

MOE_INLINE vec load_half(const unsigned char *block, size_t u, const int half) {
    return half_of(w_load32(block + u * sizeof(vec)), half);
}

#include "kernels/simd/plain.h"
#include "kernels/simd/flushed_gemm.h"

void MOE_NAME(gemm_bf16_pairs)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                               size_t first, size_t n_cols) {
    flushed_gemm(y, ld_y, x, w, first, n_cols);
}
