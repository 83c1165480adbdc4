#ifndef MOE_KERNELS_AVX512_VEC_H
#define MOE_KERNELS_AVX512_VEC_H
/* The vector of kernels/simd/: 16 floats. Loads and stores want no alignment. */

#include <immintrin.h>

#include "kernels/kernels.h"

#define MOE_NAME(op) moe_##op##_avx512
#include "kernels/simd/declare.h"

typedef __m512 vec;
typedef __mmask16 mask;

enum {
    VEC = 16,
    /* gemm: of 32 registers 24 are sums, two hold weights, four activations */
    TILE_ROWS = 2,
    TILE_COLS = 6,
    DOT_COLS = 6,
    DOT_UNITS = 1,
    /* attention: 16 sums, four vectors of keys or values, a query or weight */
    QUERIES = 4,
    KEY_VECS = 4,
    VALUE_VECS = 4,
    PROBE_CHAINS = 12,
};

static inline vec v_set1(float x) {
    return _mm512_set1_ps(x);
}

static inline vec v_load(const void *p) {
    return _mm512_loadu_ps(p);
}

static inline void v_store(void *p, vec v) {
    _mm512_storeu_ps(p, v);
}

/* Lanes [0, n), n <= VEC. */
static inline mask v_first(size_t n) {
    return (mask)((1U << n) - 1);
}

/* Lanes [first, last), each 0..VEC. */
static inline mask v_between(size_t first, size_t last) {
    return (mask)(v_first(last) & ~v_first(first));
}

/* The first n <= VEC: the others are 0, or stay. */
static inline vec v_load_n(const void *p, size_t n) {
    return _mm512_maskz_loadu_ps(v_first(n), p);
}

static inline void v_store_n(void *p, vec v, size_t n) {
    _mm512_mask_storeu_ps(p, v_first(n), v);
}

/* v, which the compiler must hold in a register: it would load it once for each of its uses. */
static inline vec v_hold(vec v) {
    __asm__("" : "+v"(v));
    return v;
}

static inline vec v_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}

static inline vec v_sub(vec a, vec b) {
    return _mm512_sub_ps(a, b);
}

static inline vec v_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}

static inline vec v_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}

static inline vec v_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec v_xor(vec a, vec b) {
    return _mm512_xor_ps(a, b);
}

static inline vec v_neg(vec a) {
    return v_xor(a, v_set1(-0.0f));
}

/* a < b ? a : b, and a > b ? a : b: of a NaN, b. */
static inline vec v_min(vec a, vec b) {
    return _mm512_min_ps(a, b);
}

static inline vec v_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}

static inline mask v_gt(vec a, vec b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

static inline vec v_select(mask m, vec yes, vec no) {
    return _mm512_mask_blend_ps(m, no, yes);
}

/* p * 2^n, t = n + MOE_EXP_MAGIC. One rounding, as with the two factors of exp.h. */
static inline vec v_times_2_to(vec p, vec n, vec t) {
    (void)t;
    return _mm512_scalef_ps(p, n);
}

static inline __m256 v_halves_added(vec v) {
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

/* The tree's end: + 8, + 4, + 2, + 1. */
static inline float v_tree(vec v) {
    const __m256 s8 = v_halves_added(v);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* sums[i] = v_tree of the i-th; four trees at once take half the shuffles of one after the other. */
static inline void v_tree4(float sums[4], vec a, vec b, vec c, vec d) {
    const vec ab = _mm512_add_ps(_mm512_insertf32x8(a, _mm512_castps512_ps256(b), 1),
                                 _mm512_shuffle_f32x4(a, b, 0xee)); /* 8 of a, 8 of b */
    const vec cd =
        _mm512_add_ps(_mm512_insertf32x8(c, _mm512_castps512_ps256(d), 1), _mm512_shuffle_f32x4(c, d, 0xee));
    const vec s4 = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const vec s2 = _mm512_add_ps(s4, _mm512_permute_ps(s4, 0x0e));
    const vec s1 = _mm512_add_ps(s2, _mm512_movehdup_ps(s2));
    _mm_storeu_ps(sums, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, s1)));
}

/* Of 16 words of two bfloat16 the even elements, and the odd ones. */
static inline vec v_bf16_even(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

static inline vec v_bf16_odd(const void *p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000)));
}

static inline vec v_from_bf16(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}

static inline vec v_from_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

/* The even elements of a, then b; the odd ones. */
static inline void v_unzip(vec a, vec b, vec *even, vec *odd) {
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, evens, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), b);
}

/* The inverse. */
static inline void v_zip(vec even, vec odd, vec *a, vec *b) {
    const __m512i pairs = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *a = _mm512_permutex2var_ps(even, pairs, odd);
    *b = _mm512_permutex2var_ps(even, _mm512_add_epi32(pairs, _mm512_set1_epi32(8)), odd);
}

#endif
