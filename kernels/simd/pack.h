/* Layouts of activations; natural order is a copy. */
#include <string.h>

MOE_INLINE void pack_block(float *y, const float *x) {
    MOE_UNROLL
    for (size_t v = 0; v < MOE_LANES / 2; v += VEC) {
        vec even, odd;
        v_unzip(v_load(x + 2 * v), v_load(x + 2 * v + VEC), &even, &odd);
        v_store(y + v, even);
        v_store(y + MOE_LANES / 2 + v, odd);
    }
}

void MOE_NAME(pack_even_odd)(float *y, const float *x, size_t k) {
    size_t i = 0;
    for (; i + MOE_LANES <= k; i += MOE_LANES) pack_block(y + i, x + i);
    if (i == k) return;
    float last[MOE_LANES] = {0};
    memcpy(last, x + i, (k - i) * sizeof *last);
    pack_block(y + i, last);
}

/* The vectors of a block of QUADS that the elements [4 * v, 4 * (v + VEC)) go to. */
MOE_INLINE void pack_quads(float *y, const float *x, size_t v) {
    vec even[2], odd[2], part[4];
    MOE_UNROLL
    for (size_t i = 0; i < 2; i++) {
        const float *at = x + 4 * v + 2 * i * VEC;
        v_unzip(v_load(at), v_load(at + VEC), &even[i], &odd[i]);
    }
    v_unzip(even[0], even[1], &part[0], &part[2]);
    v_unzip(odd[0], odd[1], &part[1], &part[3]);
    MOE_UNROLL
    for (size_t i = 0; i < 4; i++) v_store(y + i * (MOE_QUADS_BLOCK / 4) + v, part[i]);
}

void MOE_NAME(pack_quads)(float *y, const float *x, size_t k) {
    size_t i = 0;
    for (; i + MOE_QUADS_BLOCK <= k; i += MOE_QUADS_BLOCK) {
        MOE_UNROLL
        for (size_t v = 0; v < MOE_QUADS_BLOCK / 4; v += VEC) pack_quads(y + i, x + i, v);
    }
    if (i == k) return;
    float last[MOE_QUADS_BLOCK] = {0};
    memcpy(last, x + i, (k - i) * sizeof *last);
    for (size_t v = 0; v < MOE_QUADS_BLOCK / 4; v += VEC) pack_quads(y + i, last, v);
}

/* The nearest bfloat16 in the upper half of each word, as moe_bf16_of_float has it. */
MOE_INLINE words rounded(vec x) {
    const words bits = w_of_floats(x), magnitude = w_and(bits, w_set1(0x7fffffff));
    const words nan = w_right_signed(w_add(magnitude, w_set1(0x007fffff)), 31); /* all bits, or none */
    const words half = w_add(w_set1(0x7fff), w_and(w_right(bits, 16), w_set1(1)));
    const words up = w_and(half, w_xor(nan, w_set1(0xffffffff)));
    return w_or(w_add(bits, up), w_and(nan, w_set1(0x00400000)));
}

MOE_INLINE void pack_words(float *y, const float *x) {
    MOE_UNROLL
    for (size_t v = 0; v < MOE_LANES / 2; v += VEC) {
        vec even, odd;
        v_unzip(v_load(x + 2 * v), v_load(x + 2 * v + VEC), &even, &odd);
        const words upper = w_and(rounded(odd), w_set1(0xffff0000));
        v_store(y + v, v_of_bits(w_or(w_right(rounded(even), 16), upper)));
    }
}

void MOE_NAME(pack_pairs)(float *y, const float *x, size_t k) {
    size_t i = 0;
    for (; i + MOE_LANES <= k; i += MOE_LANES) pack_words(y + i / 2, x + i);
    if (i == k) return;
    float last[MOE_LANES] = {0};
    memcpy(last, x + i, (k - i) * sizeof *last);
    pack_words(y + i / 2, last);
}
