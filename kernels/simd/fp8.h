/* FP8 e4m3 with a scale per block. A code's fields are put where a bfloat16 has its own, two codes at a time,
 * and the difference of the exponents' biases is added. Where a code of four words is zero, subnormal or NaN,
 * which is rare, all of them are multiplied by a power of two instead, which makes the numbers that they are
 * of them. */
enum { BITS = 8, BIASED = 0, EXPONENTS = 0 };

MOE_INLINE void weights(vec out[4], words codes, vec scale, vec bias, bool one_group) {
    (void)bias, (void)one_group;
    if (w_all_normal8(codes)) {
        const words fields = w_set1(0x87f087f0), rebias = w_set1(0x3c003c00);
        const words even = w_add16(w_and(w_right_signed16_4(w_left16_8(codes)), fields), rebias);
        const words odd = w_add16(w_and(w_right_signed16_4(codes), fields), rebias);
        const words upper = w_set1(0xffff0000);
        out[0] = v_mul(v_of_bits(w_left(even, 16)), scale);
        out[1] = v_mul(v_of_bits(w_left(odd, 16)), scale);
        out[2] = v_mul(v_of_bits(w_and(even, upper)), scale);
        out[3] = v_mul(v_of_bits(w_and(odd, upper)), scale);
        return;
    }
    MOE_UNROLL
    for (int part = 0; part < 4; part++) {
        const words at_top = w_left(codes, 24 - 8 * part), all = w_set1(0x7f000000);
        const vec value =
            v_mul(v_of_bits(w_and(w_right_signed(at_top, 4), w_set1(0x87f00000))), v_set1(0x1p120f));
        const mask is_nan = w_equal(w_and(at_top, all), all);
        out[part] = v_mul(v_select(is_nan, v_of_bits(w_set1(0x7fc00000)), value), scale);
    }
}

#include "kernels/simd/quads.h"

void MOE_NAME(gemm_fp8)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                        size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

void MOE_NAME(widen_fp8)(float *y, const struct moe_matrix *w, size_t r) {
    widen_row(y, w, r);
}
