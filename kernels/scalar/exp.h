#ifndef MOE_KERNELS_SCALAR_EXP_H
#define MOE_KERNELS_SCALAR_EXP_H
/* exp, the one of every kernel: a fixed sequence of correctly rounded fp32 operations, within 0.9 ulp of the
 * true value (every float was tried once; tests/kernels/check_exp.c tries one in a thousand). Constants here;
 * the instruction sets repeat the sequence.
 *
 * x = n ln2 + r, |r| <= ln2 / 2; exp(x) = 2^n (1 + r + r^2 (c2 + r (c3 + ...))): relative error of the
 * polynomial 3.2e-9 (minimax with each coefficient rounded in turn and the rest fitted again). Adding
 * 1.5 * 2^23 rounds to an integer and leaves it in the low bits, so no instruction for rounding is needed.
 * 2^n is applied as two factors, so that results below 2^-126 are rounded once, and right. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define MOE_EXP_MAX    89.0f   /* exp(89) overflows to infinity */
#define MOE_EXP_MIN    -104.0f /* exp(-104) is under half the least subnormal */
#define MOE_EXP_LOG2E  0x1.715476p+0f
#define MOE_EXP_MAGIC  0x1.8p23f
#define MOE_EXP_LN2_HI 0x1.62e430p-1f
#define MOE_EXP_LN2_LO -0x1.05c610p-29f
#define MOE_EXP_C2     0x1.fffffcp-2f
#define MOE_EXP_C3     0x1.555492p-3f
#define MOE_EXP_C4     0x1.5558b4p-5f
#define MOE_EXP_C5     0x1.12399cp-7f
#define MOE_EXP_C6     0x1.6a48fcp-10f

static inline float moe_exp(float x) {
    x = MOE_EXP_MAX < x ? MOE_EXP_MAX : x;
    x = MOE_EXP_MIN > x ? MOE_EXP_MIN : x;
    const float t = fmaf(x, MOE_EXP_LOG2E, MOE_EXP_MAGIC), n = t - MOE_EXP_MAGIC;
    float r = fmaf(n, -MOE_EXP_LN2_HI, x);
    r = fmaf(n, -MOE_EXP_LN2_LO, r);
    float p = fmaf(r, MOE_EXP_C6, MOE_EXP_C5);
    p = fmaf(r, p, MOE_EXP_C4);
    p = fmaf(r, p, MOE_EXP_C3);
    p = fmaf(r, p, MOE_EXP_C2);
    p = fmaf(r, p, 1.0f);
    p = fmaf(r, p, 1.0f);

    /* n + 2 * 127 = the two biased exponents together; of a NaN the bits are anything, and p is NaN */
    const float magic = MOE_EXP_MAGIC;
    uint32_t bits, base;
    memcpy(&bits, &t, sizeof bits);
    memcpy(&base, &magic, sizeof base);
    const uint32_t both = bits - base + 254, half = both >> 1;
    const uint32_t factor_bits[2] = {half << 23, (both - half) << 23};
    float factor[2];
    memcpy(factor, factor_bits, sizeof factor);
    return p * factor[0] * factor[1];
}

#endif
