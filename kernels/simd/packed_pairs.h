/* Packed weights by activations in bf16. */
#include "kernels/simd/pairs.h"
#include "kernels/simd/packed_gemm.h"
#include "kernels/simd/flushed_gemm.h"

void MOE_NAME(gemm_packed_pairs)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                                 size_t first, size_t n_cols) {
    flushed_gemm(y, ld_y, x, w, first, n_cols);
}
