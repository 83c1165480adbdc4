#ifndef MOE_KERNELS_NEON_VEC_H
#define MOE_KERNELS_NEON_VEC_H
/* The vector of kernels/simd/: 4 floats. Loads and stores want no alignment. */

#include <arm_neon.h>
#include <string.h>

#include "base/convert.h"
#include "kernels/kernels.h"
#include "kernels/simd/codes.h"

#define MOE_NAME(op) moe_##op##_neon
#include "kernels/simd/declare.h"

typedef float32x4_t vec;
typedef uint32x4_t mask;
typedef uint32x4_t words;

enum {
    VEC = 4,
    /* gemm: of 32 registers 24 are sums */
    TILE_ROWS = 2,
    TILE_COLS = 3,
    STRIP_BLOCKS = 64,
    PACKED_PANELS = 1, /* of packed weights: one for both halves in turn, or one each */
    /* quantised formats: columns of few rows at once */
    DOTS = 2,
    /* attention: 16 sums, four vectors of keys or values, a query or weight */
    QUERIES = 4,
    KEY_VECS = 4,
    VALUE_VECS = 4,
    PROBE_CHAINS = 24,
};

/* Whether this CPU's own prefetchers follow one stream of loads better than instructions that ask for it. */
static inline bool cpu_streams_alone(void) {
    return false;
}

/* Whether v_number_at is there. */
#define FIELDS_IN_PLACE 0

/* Rows of a pass that multiplies weights as they are widened, 4 or 6: each has two sums. */
#define PASS_ROWS 6

/* Rows of a quantised format that multiply weights as they are widened. */
#define DOT_ROWS 2

static inline vec v_set1(float x) {
    return vdupq_n_f32(x);
}

/* Through bytes: a float's alignment is not promised. */
static inline vec v_load(const void *p) {
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

static inline void v_store(void *p, vec v) {
    vst1q_u8(p, vreinterpretq_u8_f32(v));
}

/* Lanes [0, n), n <= VEC. */
static inline mask v_first(size_t n) {
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}

/* Lanes [first, last), each 0..VEC. */
static inline mask v_between(size_t first, size_t last) {
    return vbicq_u32(v_first(last), v_first(first));
}

/* The first n <= VEC: the others are 0, or stay. */
static inline vec v_load_n(const void *p, size_t n) {
    float room[4] = {0};
    memcpy(room, p, n * sizeof *room);
    return vld1q_f32(room);
}

static inline void v_store_n(void *p, vec v, size_t n) {
    float room[4];
    vst1q_f32(room, v);
    memcpy(p, room, n * sizeof *room);
}

/* v, which the compiler must hold in a register: it would load it once for each of its uses. */
static inline vec v_hold(vec v) {
    __asm__("" : "+w"(v));
    return v;
}

static inline vec v_add(vec a, vec b) {
    return vaddq_f32(a, b);
}

static inline vec v_sub(vec a, vec b) {
    return vsubq_f32(a, b);
}

static inline vec v_mul(vec a, vec b) {
    return vmulq_f32(a, b);
}

static inline vec v_div(vec a, vec b) {
    return vdivq_f32(a, b);
}

static inline vec v_fma(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}

static inline vec v_xor(vec a, vec b) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}

static inline vec v_neg(vec a) {
    return v_xor(a, v_set1(-0.0f));
}

static inline mask v_gt(vec a, vec b) {
    return vcgtq_f32(a, b);
}

static inline vec v_select(mask m, vec yes, vec no) {
    return vbslq_f32(m, yes, no);
}

/* a < b ? a : b, and a > b ? a : b: of a NaN, b (the instructions of that name differ there). */
static inline vec v_min(vec a, vec b) {
    return v_select(v_gt(b, a), a, b);
}

static inline vec v_max(vec a, vec b) {
    return v_select(v_gt(a, b), a, b);
}

/* p * 2^n, t = n + 1.5 * 2^23: the two factors of exp.h, whose biased exponents add up to n + 254. */
static inline vec v_times_2_to(vec p, vec n, vec t) {
    (void)n;
    const uint32x4_t both = vsubq_u32(vreinterpretq_u32_f32(t), vdupq_n_u32(0x4b400000 - 254));
    const uint32x4_t half = vshrq_n_u32(both, 1);
    const vec low = vreinterpretq_f32_u32(vshlq_n_u32(half, 23));
    const vec high = vreinterpretq_f32_u32(vshlq_n_u32(vsubq_u32(both, half), 23));
    return vmulq_f32(vmulq_f32(p, low), high);
}

/* The tree's end: + 2, + 1. */
static inline float v_tree(vec v) {
    const float32x2_t s2 = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

/* Lane l becomes a[l] + a[l + h], or b[l - h] + b[l] where l has the bit h. */
static inline vec v_fold(vec a, vec b, const int h) {
    if (h == 2) return vaddq_f32(vcombine_f32(vget_low_f32(a), vget_high_f32(b)), vextq_f32(a, b, 2));
    return vaddq_f32(vtrn1q_f32(a, b), vtrn2q_f32(a, b));
}

static inline vec v_from_bf16(const void *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

static inline vec v_from_f16(const void *p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* The even elements of a, then b; the odd ones. */
static inline void v_unzip(vec a, vec b, vec *even, vec *odd) {
    *even = vuzp1q_f32(a, b);
    *odd = vuzp2q_f32(a, b);
}

/* The inverse. */
static inline void v_zip(vec even, vec odd, vec *a, vec *b) {
    *a = vzip1q_f32(even, odd);
    *b = vzip2q_f32(even, odd);
}

/* ---- words: VEC unsigned integers of 32 bits ---- */

static inline words w_set1(uint32_t x) {
    return vdupq_n_u32(x);
}

/* From VEC bytes, VEC halves, VEC words at any address. */
static inline words w_load8(const void *p) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
}

static inline words w_load16(const void *p) {
    return vmovl_u16(vreinterpret_u16_u8(vld1_u8(p)));
}

static inline words w_load32(const void *p) {
    return vreinterpretq_u32_u8(vld1q_u8(p));
}

/* Words of codes of 3, 5 or 6 bits, of a block of 8 * bits bytes: from the 16 bytes from the first word on,
 * or the block's last 16. */
static inline words w_load_odd(const unsigned char *block, size_t u, const int bits) {
    static const int8_t bytes3[64] = {MOE_WORDS(3, 0), MOE_WORDS(3, 0), MOE_WORDS(3, 4), MOE_WORDS(3, 10)};
    static const int8_t bytes5[64] = {MOE_WORDS(5, 0), MOE_WORDS(5, 0), MOE_WORDS(5, 0), MOE_WORDS(5, 6)};
    static const int8_t bytes6[64] = {MOE_WORDS(6, 0), MOE_WORDS(6, 0), MOE_WORDS(6, 0), MOE_WORDS(6, 4)};
    const size_t at = 2 * (size_t)bits * u, last = 8 * (size_t)bits - 16;
    const int8_t *bytes = (bits == 3 ? bytes3 : bits == 5 ? bytes5 : bytes6) + 16 * u;
    return vreinterpretq_u32_u8(
        vqtbl1q_u8(vld1q_u8(block + (at < last ? at : last)), vreinterpretq_u8_s8(vld1q_s8(bytes))));
}

static inline words w_and(words a, words b) {
    return vandq_u32(a, b);
}

static inline words w_or(words a, words b) {
    return vorrq_u32(a, b);
}

static inline words w_xor(words a, words b) {
    return veorq_u32(a, b);
}

/* Whether the highest bit of all is set. */
static inline bool w_all_signs(words a) {
    return vminvq_u32(a) >= 0x80000000;
}

static inline words w_add(words a, words b) {
    return vaddq_u32(a, b);
}

static inline words w_left(words a, const int n) {
    return vshlq_u32(a, vdupq_n_s32(n));
}

static inline words w_right(words a, const int n) {
    return vshlq_u32(a, vdupq_n_s32(-n));
}

static inline words w_right_signed(words a, const int n) {
    return vreinterpretq_u32_s32(vshlq_s32(vreinterpretq_s32_u32(a), vdupq_n_s32(-n)));
}

/* By n in even lanes, by n + 4 in odd ones. */
static inline words w_right_odd(words a, const int n) {
    static const int32_t odd[4] = {0, -4, 0, -4};
    return vshlq_u32(a, vsubq_s32(vld1q_s32(odd), vdupq_n_s32(n)));
}

/* The number, below 2^31; the float of these bits. */
static inline vec v_of_number(words a) {
    return vcvtq_f32_u32(a);
}

static inline vec v_of_bits(words a) {
    return vreinterpretq_f32_u32(a);
}

static inline words w_of_floats(vec a) {
    return vreinterpretq_u32_f32(a);
}

/* In halves of 16 bits: to the left by 8; to the right by 4, the sign copied. */
static inline words w_left16_8(words a) {
    return vreinterpretq_u32_u16(vshlq_u16(vreinterpretq_u16_u32(a), vdupq_n_s16(8)));
}

static inline words w_right_signed16_4(words a) {
    return vreinterpretq_u32_s16(vshlq_s16(vreinterpretq_s16_u32(a), vdupq_n_s16(-4)));
}

/* 16 bytes at any address. */
static inline words w_repeat16(const void *p) {
    return w_load32(p);
}

/* Bytes: of the table those that a's, below 16, number. */
static inline words w_lookup8(words table, words a) {
    return vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(table), vreinterpretq_u8_u32(a)));
}

/* Bytes of a and b in turn, of their lower halves; of their upper halves. */
static inline words w_zip8_low(words a, words b) {
    return vreinterpretq_u32_u8(vzip1q_u8(vreinterpretq_u8_u32(a), vreinterpretq_u8_u32(b)));
}

static inline words w_zip8_high(words a, words b) {
    return vreinterpretq_u32_u8(vzip2q_u8(vreinterpretq_u8_u32(a), vreinterpretq_u8_u32(b)));
}

/* The largest of each byte so far, without their signs: whether there was a NaN of e4m3 among them. */
static inline words w_nan8_seen(words seen, words codes) {
    const uint8x16_t bytes = vreinterpretq_u8_u32(codes);
    return vreinterpretq_u32_u8(vmaxq_u8(vreinterpretq_u8_u32(seen), vaddq_u8(bytes, bytes)));
}

static inline bool w_has_nan8(words seen) {
    return vmaxvq_u8(vreinterpretq_u8_u32(seen)) == 0xfe;
}

static inline mask w_equal(words a, words b) {
    return vceqq_u32(a, b);
}

/* Weights of the FP4 codes at bits 0, 4, 8 and 12; scale is half of theirs. A code's fields are put where a
 * float has its own; times a power of two they are twice its value. */
static inline void v_fp4(vec out[4], words a, vec scale) {
    MOE_UNROLL
    for (int n = 0; n < 4; n++) {
        const words fields = w_and(w_right_signed(w_left(a, 28 - 4 * n), 6), w_set1(0x81c00000));
        out[n] = v_mul(v_mul(v_of_bits(fields), v_set1(0x1p127f)), scale);
    }
}

/* No table of floats is looked up faster than a number is converted. */
#define LOOKUP_BITS 0

/* Lanes of the first 8 words of a block from `low`, of the others from `high`: the part of unit u. */
static inline vec v_halves(const float *low, const float *high, size_t u) {
    return vld1q_dup_f32(u < 2 ? low : high);
}

#endif
