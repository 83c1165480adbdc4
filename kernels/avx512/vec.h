#ifndef MOE_KERNELS_AVX512_VEC_H
#define MOE_KERNELS_AVX512_VEC_H
/* The vector of kernels/simd/: 16 floats. Loads and stores want no alignment. */

#include <immintrin.h>

#include "base/convert.h"
#include "kernels/kernels.h"
#include "kernels/simd/codes.h"

#define MOE_NAME(op) moe_##op##_avx512
#include "kernels/simd/declare.h"

typedef __m512 vec;
typedef __mmask16 mask;
typedef __m512i words;

enum {
    VEC = 16,
    /* gemm: of 32 registers 24 are sums */
    TILE_ROWS = 3,
    TILE_COLS = 8,
    STRIP_BLOCKS = 32,
    PACKED_PANELS = 2, /* of packed weights: one for both halves in turn, or one each */
    /* quantised formats: columns of few rows at once */
    DOTS = 2,
    /* attention: 16 sums, four vectors of keys or values, a query or weight */
    QUERIES = 4,
    KEY_VECS = 4,
    VALUE_VECS = 4,
    PROBE_CHAINS = 12,
};

/* Whether this CPU's own prefetchers follow one stream of loads better than instructions that ask for it. */
static inline bool cpu_streams_alone(void) {
    return __builtin_cpu_is("amd");
}

/* Rows of a pass that multiplies weights as they are widened, 4 or 6: each has two sums. */
#define PASS_ROWS 6

/* Rows of a quantised format that multiply weights as they are widened. */
#define DOT_ROWS 4

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

/* Lane l becomes a[l] + a[l + h], or b[l - h] + b[l] where l has the bit h. */
static inline vec v_fold(vec a, vec b, const int h) {
    switch (h) {
    case 8:
        return _mm512_add_ps(_mm512_mask_blend_ps(0xff00, a, b), _mm512_shuffle_f32x4(a, b, 0x4e));
    case 4: {
        const vec other = _mm512_mask_blend_ps(0xf0f0, b, a);
        return _mm512_add_ps(_mm512_mask_blend_ps(0xf0f0, a, b), _mm512_shuffle_f32x4(other, other, 0xb1));
    }
    case 2:
        return _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, a, b), _mm512_shuffle_ps(a, b, 0x4e));
    default: {
        const vec other = _mm512_mask_blend_ps(0xaaaa, b, a);
        return _mm512_add_ps(_mm512_mask_blend_ps(0xaaaa, a, b), _mm512_permute_ps(other, 0xb1));
    }
    }
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

/* ---- words: VEC unsigned integers of 32 bits ---- */

static inline words w_set1(uint32_t x) {
    return _mm512_set1_epi32((int)x);
}

/* From VEC bytes, VEC halves, VEC words at any address. */
static inline words w_load8(const void *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(p));
}

static inline words w_load16(const void *p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
}

static inline words w_load32(const void *p) {
    return _mm512_loadu_si512(p);
}

/* Words of codes of 3, 5 or 6 bits, of a block of 8 * bits bytes. Each quarter of the vector gets the 16
 * bytes from an even number of bytes on. */
static inline words w_load_odd(const unsigned char *block, size_t u, const int bits) {
    static const signed char bytes3[64] = {MOE_WORDS(3, 0), MOE_WORDS(3, 2), MOE_WORDS(3, 0),
                                           MOE_WORDS(3, 2)};
    static const signed char bytes5[64] = {MOE_WORDS(5, 0), MOE_WORDS(5, 2), MOE_WORDS(5, 0),
                                           MOE_WORDS(5, 2)};
    static const signed char bytes6[64] = {MOE_WORDS(6, 0), MOE_WORDS(6, 0), MOE_WORDS(6, 0),
                                           MOE_WORDS(6, 0)};
    (void)u;
    const words all = _mm512_maskz_loadu_epi32((mask)((1 << 2 * bits) - 1), block);
    const words quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const words within = _mm512_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    const words first = _mm512_srli_epi32(_mm512_mullo_epi32(quarter, _mm512_set1_epi32(bits)), 1);
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(_mm512_add_epi32(first, within), all),
                               _mm512_loadu_si512(bits == 3   ? bytes3
                                                  : bits == 5 ? bytes5
                                                              : bytes6));
}

static inline words w_and(words a, words b) {
    return _mm512_and_si512(a, b);
}

static inline words w_or(words a, words b) {
    return _mm512_or_si512(a, b);
}

static inline words w_xor(words a, words b) {
    return _mm512_xor_si512(a, b);
}

/* Whether the highest bit of all is set. */
static inline bool w_all_signs(words a) {
    return _mm512_movepi32_mask(a) == 0xffff;
}

static inline words w_add(words a, words b) {
    return _mm512_add_epi32(a, b);
}

static inline words w_left(words a, const int n) {
    return n ? _mm512_slli_epi32(a, (unsigned)n) : a;
}

static inline words w_right(words a, const int n) {
    return n ? _mm512_srli_epi32(a, (unsigned)n) : a;
}

static inline words w_right_signed(words a, const int n) {
    return _mm512_srai_epi32(a, (unsigned)n);
}

/* By n in even lanes, by n + 4 in odd ones. */
static inline words w_right_odd(words a, const int n) {
    return _mm512_srlv_epi32(a, _mm512_add_epi32(_mm512_set1_epi32(n), _mm512_set1_epi64(4LL << 32)));
}

/* The number, below 2^31; the float of these bits. */
static inline vec v_of_number(words a) {
    return _mm512_cvtepi32_ps(a);
}

static inline vec v_of_bits(words a) {
    return _mm512_castsi512_ps(a);
}

static inline words w_of_floats(vec a) {
    return _mm512_castps_si512(a);
}

/* The float 2^23 + the bits of `field` in a, where they are, below bit 23: one instruction. */
#define FIELDS_IN_PLACE 1
static inline vec v_number_at(words a, uint32_t field) {
    return v_of_bits(_mm512_ternarylogic_epi32(a, w_set1(field), w_set1(0x4b000000), 0xea)); /* a & b | c */
}

/* In halves of 16 bits: to the left by 8; to the right by 4, the sign copied. */
static inline words w_left16_8(words a) {
    return _mm512_slli_epi16(a, 8);
}

static inline words w_right_signed16_4(words a) {
    return _mm512_srai_epi16(a, 4);
}

/* 16 bytes at any address, in each quarter. */
static inline words w_repeat16(const void *p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(p));
}

/* Bytes, within each quarter: of the table those that a's, below 16, number. */
static inline words w_lookup8(words table, words a) {
    return _mm512_shuffle_epi8(table, a);
}

/* Bytes of a and b in turn, of the lower halves of their quarters; of the upper halves. */
static inline words w_zip8_low(words a, words b) {
    return _mm512_unpacklo_epi8(a, b);
}

static inline words w_zip8_high(words a, words b) {
    return _mm512_unpackhi_epi8(a, b);
}

/* The largest of each byte so far, without their signs: whether there was a NaN of e4m3 among them. */
static inline words w_nan8_seen(words seen, words codes) {
    return _mm512_max_epu8(seen, _mm512_add_epi8(codes, codes));
}

static inline bool w_has_nan8(words seen) {
    return _mm512_cmpeq_epi8_mask(seen, _mm512_set1_epi8((char)0xfe)) != 0;
}

static inline mask w_equal(words a, words b) {
    return _mm512_cmpeq_epi32_mask(a, b);
}

/* Weights of the FP4 codes at bits 0, 4, 8 and 12; scale is half of theirs. */
static inline void v_fp4(vec out[4], words a, vec scale) {
    const vec table = v_load(moe_fp4_doubled);
    MOE_UNROLL
    for (int n = 0; n < 4; n++) out[n] = v_mul(_mm512_permutexvar_ps(w_right(a, 4 * n), table), scale);
}

/* Lane i of the table for the lowest bits i of each word; the table is repeated over its lanes. With two bits
 * each quarter of the vector is looked up in its own. */
#define LOOKUP_BITS           4
#define LOOKUP_BITS_IN_HALVES 2
static inline vec v_lookup(vec table, words a, const int bits) {
    return bits == 2 ? _mm512_permutevar_ps(table, a) : _mm512_permutexvar_ps(a, table);
}

/* Lanes of the first 8 words of a block from `low`, of the others from `high`: the part of unit u. */
static inline vec v_halves(const float *low, const float *high, size_t u) {
    (void)u;
    return _mm512_mask_broadcastss_ps(_mm512_set1_ps(*low), 0xff00, _mm_load_ss(high));
}

#endif
