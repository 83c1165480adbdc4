/* Affine groups, as mlx has them: scale * code + bias, rounded twice. For each width a file of three lines
 * and #define AFFINE, the number of bits.
 *
 * Where an instruction looks floats up in a vector (LOOKUP_BITS of an index), a group's weights are computed
 * once for every code, and codes are looked up: with 4 bits and AVX-512 three operations per vector instead
 * of six. */
enum { BITS = AFFINE, BIASED = 1, EXPONENTS = 0 };

/* Codes of elements 4i + part in the lowest bits of the words. */
MOE_INLINE words shifted(words codes, const int part) {
    return BITS % 2 ? w_right_odd(codes, BITS * part) : w_right(codes, BITS * part);
}

MOE_INLINE vec affine(words code, vec scale, vec bias) {
    return v_add(v_mul(scale, v_of_number(code)), bias);
}

MOE_INLINE void weights(vec out[4], words codes, vec scale, vec bias, bool one_group) {
    const words low = w_set1((1U << BITS) - 1);
#if AFFINE <= LOOKUP_BITS
    if (one_group || BITS <= LOOKUP_BITS_IN_HALVES) {
        const vec table = affine(w_and(w_lanes(), low), scale, bias);
        MOE_UNROLL
        for (int part = 0; part < 4; part++) out[part] = v_lookup(table, shifted(codes, part), BITS);
        return;
    }
#endif
    (void)one_group;
    MOE_UNROLL
    for (int part = 0; part < 4; part++) {
        const bool alone = part == 3 && 32 % BITS == 0; /* nothing lies above it */
        out[part] = affine(alone ? shifted(codes, part) : w_and(shifted(codes, part), low), scale, bias);
    }
}

#include "kernels/simd/quads.h"

#define MOE_AFFINE_NAME(op, bits) MOE_NAME(op##_affine##bits)
#define MOE_AFFINE(op, bits)      MOE_AFFINE_NAME(op, bits)

void MOE_AFFINE(gemm, AFFINE)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                              size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

void MOE_AFFINE(widen, AFFINE)(float *y, const struct moe_matrix *w, size_t r) {
    widen_row(y, w, r);
}
