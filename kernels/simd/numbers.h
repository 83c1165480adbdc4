#ifndef MOE_KERNELS_SIMD_NUMBERS_H
#define MOE_KERNELS_SIMD_NUMBERS_H
/* What turns the codes of a strip of blocks of one column into weights, as floats: one number, or of groups
 * of half a block two, for each block. The file that includes it says how many numbers a group has (enum {
 * SLOTS }, SCALE and BIAS among them); those that do not come from the checkpoint its prepare() computes, if
 * it has a fast way (MOE_FAST). */
enum {
    PARTS = 4,
    DOT_BLOCKS = 64, /* of a single row, between conversions of numbers */
    NUMBERS = MOE_QUADS_BLOCK / MOE_LANES * DOT_BLOCKS + VEC /* and what conversion writes past them */
};

struct numbers {
    float of[SLOTS][NUMBERS];
    bool halves;      /* two for each block */
    bool fast;        /* weights_fast() gives the bits of weights() */
    const void *from; /* the first scale, of `n` blocks: what is here already */
    size_t n;
};

/* Unit u of block b of a strip. */
struct place {
    const struct numbers *numbers;
    size_t b, u;
    bool halves; /* a constant where numbers->halves is none */
};

MOE_INLINE vec number(const struct place at, const int slot) {
    const float *n = at.numbers->of[slot];
    return at.halves ? v_halves(n + 2 * at.b, n + 2 * at.b + 1, at.u) : v_set1(n[at.b]);
}

#if MOE_FAST
/* Whether all n > 0 numbers at p are such that scaling them by a few powers of two is exact: in [2^-63,
 * 2^65), either sign. What lies past them, up to a vector, is overwritten. */
MOE_INLINE bool are_moderate(float *p, size_t n) {
    words all = w_set1(0xffffffff);
    v_store(p + n, v_set1(1));
    for (size_t i = 0; i < n; i += VEC) { /* the upper two bits of the exponent differ */
        const words bits = w_load32(p + i);
        all = w_and(all, w_xor(w_left(bits, 1), w_left(bits, 2)));
    }
    return w_all_signs(all);
}

/* Whether all n > 0 numbers at p are below 2, so that they may be multiplied by 2^120; past them as above. */
MOE_INLINE bool are_small(float *p, size_t n) {
    words any = w_set1(0);
    v_store(p + n, v_set1(0));
    for (size_t i = 0; i < n; i += VEC) any = w_or(any, w_load32(p + i)); /* the exponent's upper bit */
    return w_all_signs(w_xor(w_left(any, 1), w_set1(0x80000000)));
}
#else
MOE_INLINE bool prepare(struct numbers *n, size_t count) {
    (void)n, (void)count;
    return false;
}

MOE_INLINE void weights_fast(vec out[PARTS], words codes, const struct place at, words *seen) {
    (void)out, (void)codes, (void)at, (void)seen;
}

MOE_INLINE bool is_strange(words seen) {
    (void)seen;
    return false;
}
#endif

#endif
