/* FP8 e4m3 with a scale per block. A code's fields are put where a bfloat16 has its own, two codes at a time.
 * The difference of the exponents' biases, 2^120, goes into the scale where that stays exact, zeros and
 * subnormal codes included. What is left is NaN: codes are collected, and where one was among them all is
 * done again, code by code. */
#define MOE_FAST 1
enum { BITS = 8, BIASED = 0, EXPONENTS = 0, SCALE = 0, BIAS = 0, SCALED, SLOTS };

#include "kernels/simd/numbers.h"

MOE_INLINE void weights(vec out[PARTS], words codes, const struct place at) {
    const vec scale = number(at, SCALE);
    MOE_UNROLL
    for (int part = 0; part < PARTS; part++) {
        const words at_top = w_left(codes, 24 - 8 * part), all = w_set1(0x7f000000);
        const vec value =
            v_mul(v_of_bits(w_and(w_right_signed(at_top, 4), w_set1(0x87f00000))), v_set1(0x1p120f));
        const mask is_nan = w_equal(w_and(at_top, all), all);
        out[part] = v_mul(v_select(is_nan, v_of_bits(w_set1(0x7fc00000)), value), scale);
    }
}

MOE_INLINE bool prepare(struct numbers *n, size_t count) {
    for (size_t i = 0; i < count; i += VEC)
        v_store(n->of[SCALED] + i, v_mul(v_load(n->of[SCALE] + i), v_set1(0x1p120f)));
    return are_small(n->of[SCALE], count);
}

MOE_INLINE void weights_fast(vec out[PARTS], words codes, const struct place at, words *seen) {
    const words fields = w_set1(0x87f087f0), upper = w_set1(0xffff0000);
    const words even = w_and(w_right_signed16_4(w_left16_8(codes)), fields);
    const words odd = w_and(w_right_signed16_4(codes), fields);
    const vec scale = number(at, SCALED);
    *seen = w_nan8_seen(*seen, codes);
    out[0] = v_mul(v_of_bits(w_left(even, 16)), scale);
    out[1] = v_mul(v_of_bits(w_left(odd, 16)), scale);
    out[2] = v_mul(v_of_bits(w_and(even, upper)), scale);
    out[3] = v_mul(v_of_bits(w_and(odd, upper)), scale);
}

MOE_INLINE bool is_strange(words seen) {
    return w_has_nan8(seen);
}

#include "kernels/simd/quads.h"

void MOE_NAME(gemm_fp8)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                        size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

void MOE_NAME(widen_fp8)(float *y, const struct moe_matrix *w, size_t r) {
    widen_row(y, w, r);
}
