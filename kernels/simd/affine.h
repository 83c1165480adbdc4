/* Affine groups, as mlx has them: scale * code + bias, rounded twice. For each width a file of three lines
 * and #define AFFINE, the number of bits.
 *
 * Where an instruction looks floats up in a vector (LOOKUP_BITS of an index), a group's weights are computed
 * once for every code, and codes are looked up: with 4 bits and AVX-512 two operations per vector.
 *
 * Else, where a field of a word can be had with other bits around it (FIELDS_IN_PLACE), no code is moved or
 * converted: with the bits of 2^23 around it, a code at bit q is the float 2^23 + code * 2^q, and fma(scale *
 * 2^-q, 2^23 + code * 2^q, -scale * 2^(23 - q)) = scale * code, rounded once, as long as the powers of two go
 * into the scale exactly. Only a zero may have another sign, which no sum that began with +0 shows. */
#define MOE_LOOKED_UP (AFFINE <= LOOKUP_BITS)
#define MOE_FAST      (FIELDS_IN_PLACE && !MOE_LOOKED_UP)
enum {
    BITS = AFFINE,
    BIASED = 1,
    EXPONENTS = 0,
    SPOTS = BITS == 8 ? 2 : 4, /* where in a word codes are: of 8 bits, in either half */
    SCALE = 0,
    BIAS,
    SCALES_AT,
    MINUS_AT = SCALES_AT + SPOTS,
    SLOTS = MOE_FAST ? MINUS_AT + SPOTS : 2
};

#include "kernels/simd/numbers.h"

/* Codes of elements 4i + part in the lowest bits of the words. */
MOE_INLINE words shifted(words codes, const int part) {
    return BITS % 2 ? w_right_odd(codes, BITS * part) : w_right(codes, BITS * part);
}

MOE_INLINE vec affine(words code, vec scale, vec bias) {
    return v_add(v_mul(scale, v_of_number(code)), bias);
}

#if MOE_LOOKED_UP
/* Of a table's lanes. */
static const float repeated_codes[16] = {
#define MOE_CODE(i) (i) & ((1 << AFFINE) - 1)
    MOE_CODE(0),  MOE_CODE(1),  MOE_CODE(2),  MOE_CODE(3), MOE_CODE(4),  MOE_CODE(5),
    MOE_CODE(6),  MOE_CODE(7),  MOE_CODE(8),  MOE_CODE(9), MOE_CODE(10), MOE_CODE(11),
    MOE_CODE(12), MOE_CODE(13), MOE_CODE(14), MOE_CODE(15)
#undef MOE_CODE
};
#endif

MOE_INLINE void weights(vec out[PARTS], words codes, const struct place at) {
    const vec scale = number(at, SCALE), bias = number(at, BIAS);
#if MOE_LOOKED_UP
    if (VEC < MOE_LANES / 2 || !at.halves || BITS <= LOOKUP_BITS_IN_HALVES) {
        const vec table = v_add(v_mul(scale, v_load(repeated_codes)), bias);
        MOE_UNROLL
        for (int part = 0; part < PARTS; part++) out[part] = v_lookup(table, shifted(codes, part), BITS);
        return;
    }
#endif
    const words low = w_set1((1U << BITS) - 1);
    MOE_UNROLL
    for (int part = 0; part < PARTS; part++) {
        const bool alone = part == 3 && 32 % BITS == 0; /* nothing lies above it */
        out[part] = affine(alone ? shifted(codes, part) : w_and(shifted(codes, part), low), scale, bias);
    }
}

#if MOE_FAST
/* Whether part's code does not fit below bit 23 of its word, so that it is 16 bits to the right; its bit
 * then. */
MOE_INLINE bool is_upper(const int part) {
    return BITS * (part + 1) > 23;
}

MOE_INLINE int bit_of(const int part) {
    return BITS * part - (is_upper(part) ? 16 : 0);
}

MOE_INLINE bool prepare(struct numbers *n, size_t count) {
    if (!are_moderate(n->of[SCALE], count)) return false;
    for (size_t i = 0; i < count; i += VEC) {
        const vec scale = v_load(n->of[SCALE] + i);
        MOE_UNROLL
        for (int spot = 0; spot < SPOTS; spot++) {
            const float power = 1.0f / (float)(1 << bit_of(spot));
            v_store(n->of[SCALES_AT + spot] + i, v_mul(scale, v_set1(power)));
            v_store(n->of[MINUS_AT + spot] + i, v_mul(scale, v_set1(-0x1p23f * power)));
        }
    }
    return true;
}

MOE_INLINE void weights_fast(vec out[PARTS], words codes, const struct place at, words *seen) {
    const words lower = BITS % 2 ? w_right_odd(codes, 0) : codes;
    const words upper = is_upper(3) ? w_right(codes, 16) : lower;
    const vec bias = number(at, BIAS);
    (void)seen;
    MOE_UNROLL
    for (int part = 0; part < PARTS; part++) {
        const uint32_t field = ((1U << BITS) - 1) << bit_of(part);
        const int spot = part % SPOTS;
        out[part] =
            v_add(v_fma(number(at, SCALES_AT + spot), v_number_at(is_upper(part) ? upper : lower, field),
                        number(at, MINUS_AT + spot)),
                  bias);
    }
}

MOE_INLINE bool is_strange(words seen) {
    (void)seen;
    return false;
}
#endif

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
