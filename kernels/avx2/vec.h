#ifndef MOE_KERNELS_AVX2_VEC_H
#define MOE_KERNELS_AVX2_VEC_H
/* The vector of kernels/simd/: 8 floats. Loads and stores want no alignment. */

#include <immintrin.h>

#include "base/convert.h"
#include "kernels/kernels.h"
#include "kernels/simd/codes.h"

#define MOE_NAME(op) moe_##op##_avx2
#include "kernels/simd/declare.h"

typedef __m256 vec;
typedef __m256 mask;
typedef __m256i words;

enum {
    VEC = 8,
    /* gemm: of 16 registers 12 are sums */
    TILE_ROWS = 2,
    TILE_COLS = 3,
    STRIP_BLOCKS = 64,
    PACKED_PANELS = 1, /* of packed weights: one for both halves in turn, or one each */
    /* quantised formats: columns of few rows at once */
    DOTS = 1,
    /* attention: eight sums, two vectors of keys or values, a query or weight */
    QUERIES = 4,
    KEY_VECS = 2,
    VALUE_VECS = 2,
    PROBE_CHAINS = 12,
};

/* Whether this CPU's own prefetchers follow one stream of loads better than instructions that ask for it. */
static inline bool cpu_streams_alone(void) {
    return __builtin_cpu_is("amd");
}

/* Whether v_number_at is there. */
#define FIELDS_IN_PLACE 0

/* Rows of a pass that multiplies weights as they are widened, 4 or 6: each has two sums. */
#define PASS_ROWS 4

/* Rows of a quantised format that multiply weights as they are widened. */
#define DOT_ROWS 2

static inline vec v_set1(float x) {
    return _mm256_set1_ps(x);
}

static inline vec v_load(const void *p) {
    return _mm256_loadu_ps(p);
}

static inline void v_store(void *p, vec v) {
    _mm256_storeu_ps(p, v);
}

/* Lanes [0, n), n <= VEC: a window on eight ones and eight zeros. */
static inline mask v_first(size_t n) {
    static const int window[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i_u *)(window + 8 - n)));
}

/* Lanes [first, last), each 0..VEC. */
static inline mask v_between(size_t first, size_t last) {
    return _mm256_andnot_ps(v_first(first), v_first(last));
}

/* The first n <= VEC: the others are 0, or stay. */
static inline vec v_load_n(const void *p, size_t n) {
    return _mm256_maskload_ps(p, _mm256_castps_si256(v_first(n)));
}

static inline void v_store_n(void *p, vec v, size_t n) {
    _mm256_maskstore_ps(p, _mm256_castps_si256(v_first(n)), v);
}

/* v, which the compiler must hold in a register: it would load it once for each of its uses. */
static inline vec v_hold(vec v) {
    __asm__("" : "+x"(v));
    return v;
}

static inline vec v_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}

static inline vec v_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}

static inline vec v_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}

static inline vec v_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}

static inline vec v_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec v_xor(vec a, vec b) {
    return _mm256_xor_ps(a, b);
}

static inline vec v_neg(vec a) {
    return v_xor(a, v_set1(-0.0f));
}

/* a < b ? a : b, and a > b ? a : b: of a NaN, b. */
static inline vec v_min(vec a, vec b) {
    return _mm256_min_ps(a, b);
}

static inline vec v_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}

static inline mask v_gt(vec a, vec b) {
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}

static inline vec v_select(mask m, vec yes, vec no) {
    return _mm256_blendv_ps(no, yes, m);
}

/* p * 2^n, t = n + 1.5 * 2^23: the two factors of exp.h, whose biased exponents add up to n + 254. */
static inline vec v_times_2_to(vec p, vec n, vec t) {
    (void)n;
    const __m256i both = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4b400000 - 254));
    const __m256i half = _mm256_srli_epi32(both, 1);
    const vec low = _mm256_castsi256_ps(_mm256_slli_epi32(half, 23));
    const vec high = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_sub_epi32(both, half), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, low), high);
}

/* The tree's end: + 4, + 2, + 1. */
static inline float v_tree(vec v) {
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* Lane l becomes a[l] + a[l + h], or b[l - h] + b[l] where l has the bit h. */
static inline vec v_fold(vec a, vec b, const int h) {
    switch (h) {
    case 4:
        return _mm256_add_ps(_mm256_blend_ps(a, b, 0xf0), _mm256_permute2f128_ps(a, b, 0x21));
    case 2:
        return _mm256_add_ps(_mm256_blend_ps(a, b, 0xcc), _mm256_shuffle_ps(a, b, 0x4e));
    default:
        return _mm256_add_ps(_mm256_blend_ps(a, b, 0xaa),
                             _mm256_permute_ps(_mm256_blend_ps(b, a, 0xaa), 0xb1));
    }
}

static inline vec v_from_bf16(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

static inline vec v_from_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

/* The even elements of a, then b; the odd ones. */
static inline void v_unzip(vec a, vec b, vec *even, vec *odd) {
    const vec low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    *even = _mm256_shuffle_ps(low, high, 0x88); /* within each half: two of low, two of high */
    *odd = _mm256_shuffle_ps(low, high, 0xdd);
}

/* The inverse. */
static inline void v_zip(vec even, vec odd, vec *a, vec *b) {
    const vec low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    *a = _mm256_permute2f128_ps(low, high, 0x20);
    *b = _mm256_permute2f128_ps(low, high, 0x31);
}

/* ---- words: VEC unsigned integers of 32 bits ---- */

static inline words w_set1(uint32_t x) {
    return _mm256_set1_epi32((int)x);
}

/* From VEC bytes, VEC halves, VEC words at any address. */
static inline words w_load8(const void *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(p));
}

static inline words w_load16(const void *p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
}

static inline words w_load32(const void *p) {
    return _mm256_loadu_si256(p);
}

/* Words of codes of 3, 5 or 6 bits, of a block of 8 * bits bytes. Each half of the vector gets the 16 bytes
 * from its first word on, or the block's last 16. */
static inline words w_load_odd(const unsigned char *block, size_t u, const int bits) {
    static const signed char bytes3[64] = {MOE_WORDS(3, 0), MOE_WORDS(3, 0), MOE_WORDS(3, 4),
                                           MOE_WORDS(3, 10)};
    static const signed char bytes5[64] = {MOE_WORDS(5, 0), MOE_WORDS(5, 0), MOE_WORDS(5, 0),
                                           MOE_WORDS(5, 6)};
    static const signed char bytes6[64] = {MOE_WORDS(6, 0), MOE_WORDS(6, 0), MOE_WORDS(6, 0),
                                           MOE_WORDS(6, 4)};
    const size_t step = 2 * (size_t)bits, last = 8 * (size_t)bits - 16;
    const size_t low = 2 * u * step, high = low + step;
    const __m128i a = _mm_loadu_si128((const __m128i_u *)(block + (low < last ? low : last)));
    const __m128i b = _mm_loadu_si128((const __m128i_u *)(block + (high < last ? high : last)));
    const signed char *bytes = bits == 3 ? bytes3 : bits == 5 ? bytes5 : bytes6;
    return _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1),
                               _mm256_loadu_si256((const __m256i_u *)(bytes + 32 * u)));
}

static inline words w_and(words a, words b) {
    return _mm256_and_si256(a, b);
}

static inline words w_or(words a, words b) {
    return _mm256_or_si256(a, b);
}

static inline words w_xor(words a, words b) {
    return _mm256_xor_si256(a, b);
}

/* Whether the highest bit of all is set. */
static inline bool w_all_signs(words a) {
    return _mm256_movemask_ps(_mm256_castsi256_ps(a)) == 0xff;
}

static inline words w_add(words a, words b) {
    return _mm256_add_epi32(a, b);
}

static inline words w_left(words a, const int n) {
    return n ? _mm256_slli_epi32(a, n) : a;
}

static inline words w_right(words a, const int n) {
    return n ? _mm256_srli_epi32(a, n) : a;
}

static inline words w_right_signed(words a, const int n) {
    return _mm256_srai_epi32(a, n);
}

/* By n in even lanes, by n + 4 in odd ones. */
static inline words w_right_odd(words a, const int n) {
    return _mm256_srlv_epi32(a, _mm256_add_epi32(_mm256_set1_epi32(n), _mm256_set1_epi64x(4LL << 32)));
}

/* The number, below 2^31; the float of these bits. */
static inline vec v_of_number(words a) {
    return _mm256_cvtepi32_ps(a);
}

static inline vec v_of_bits(words a) {
    return _mm256_castsi256_ps(a);
}

static inline words w_of_floats(vec a) {
    return _mm256_castps_si256(a);
}

/* In halves of 16 bits: to the left by 8; to the right by 4, the sign copied. */
static inline words w_left16_8(words a) {
    return _mm256_slli_epi16(a, 8);
}

static inline words w_right_signed16_4(words a) {
    return _mm256_srai_epi16(a, 4);
}

/* 16 bytes at any address, in each half. */
static inline words w_repeat16(const void *p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

/* Bytes, within each half: of the table those that a's, below 16, number. */
static inline words w_lookup8(words table, words a) {
    return _mm256_shuffle_epi8(table, a);
}

/* Bytes of a and b in turn, of the lower parts of their halves; of the upper parts. */
static inline words w_zip8_low(words a, words b) {
    return _mm256_unpacklo_epi8(a, b);
}

static inline words w_zip8_high(words a, words b) {
    return _mm256_unpackhi_epi8(a, b);
}

/* The largest of each byte so far, without their signs: whether there was a NaN of e4m3 among them. */
static inline words w_nan8_seen(words seen, words codes) {
    return _mm256_max_epu8(seen, _mm256_add_epi8(codes, codes));
}

static inline bool w_has_nan8(words seen) {
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(seen, _mm256_set1_epi8((char)0xfe))) != 0;
}

static inline mask w_equal(words a, words b) {
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}

/* Weights of the FP4 codes at bits 0, 4, 8 and 12; scale is half of theirs, the same in every lane: so the
 * values without a sign are multiplied before they are looked up. */
static inline void v_fp4(vec out[4], words a, vec scale) {
    const vec table = v_mul(v_load(moe_fp4_doubled), scale);
    MOE_UNROLL
    for (int n = 0; n < 4; n++) {
        const vec sign = v_of_bits(w_and(w_left(a, 28 - 4 * n), w_set1(0x80000000)));
        out[n] = v_xor(_mm256_permutevar8x32_ps(table, w_right(a, 4 * n)), sign);
    }
}

/* Lane i of the table for the lowest bits i of each word; the table is repeated over its lanes. */
#define LOOKUP_BITS           3
#define LOOKUP_BITS_IN_HALVES 3
static inline vec v_lookup(vec table, words a, const int bits) {
    return bits == 2 ? _mm256_permutevar_ps(table, a) : _mm256_permutevar8x32_ps(table, a);
}

/* Lanes of the first 8 words of a block from `low`, of the others from `high`: the part of unit u. */
static inline vec v_halves(const float *low, const float *high, size_t u) {
    return _mm256_broadcast_ss(u ? high : low);
}

#endif
