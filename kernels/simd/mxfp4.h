/* MXFP4: twice the value of a code times half the scale, for base/convert.h tells why. */
#define MOE_FAST 0
enum { BITS = 4, BIASED = 0, EXPONENTS = 1, SCALE = 0, BIAS = 0, SLOTS };

#include "kernels/simd/numbers.h"

MOE_INLINE void weights(vec out[PARTS], words codes, const struct place at) {
    v_fp4(out, codes, number(at, SCALE));
}

#include "kernels/simd/quads.h"

void MOE_NAME(gemm_mxfp4)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                          size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

void MOE_NAME(widen_mxfp4)(float *y, const struct moe_matrix *w, size_t r) {
    widen_row(y, w, r);
}
