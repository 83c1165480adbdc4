#include "kernels/simd/fp32.h"

enum { WEIGHT_BYTES = 4 };

MOE_INLINE vec load_half(const unsigned char *block, size_t u, const int half) {
    return v_load(block + ((half ? MOE_LANES / 2 : 0) + u * VEC) * WEIGHT_BYTES);
}

#include "kernels/simd/plain.h"

void MOE_NAME(gemm_f32)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                        size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}
