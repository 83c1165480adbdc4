/* Rotary embedding: angles and rotation.
 *
 * Angles reach 2^32 (position 2^32 - 1, inv_freq 1), so the reduction by pi / 2 must be exact there: with
 * n < 2^32 and pi / 2 as two doubles, a - n * hi is exact by one fma (both are multiples of 2^-52 and the
 * difference is below 1), and the second fma brings n * lo. The polynomials are those of FreeBSD msun's
 * k_sin.c and k_cos.c. Before the last rounding to float the error is some 2^-52 of the value. */
#include <math.h>
#include <string.h>

#include "kernels/scalar/table.h"

/* sin and cos of |r| <= pi / 4. */
static double sine(double r) {
    const double z = r * r;
    double p = fma(z, 0x1.5d93a5acfd57cp-33, -0x1.ae5e68a2b9cebp-26);
    p = fma(z, p, 0x1.71de357b1fe7dp-19);
    p = fma(z, p, -0x1.a01a019c161d5p-13);
    p = fma(z, p, 0x1.111111110f8a6p-7);
    p = fma(z, p, -0x1.5555555555549p-3);
    return fma(z * r, p, r);
}

static double cosine(double r) {
    const double z = r * r;
    double p = fma(z, -0x1.8fae9be8838d4p-37, 0x1.1ee9ebdb4b1c4p-29);
    p = fma(z, p, -0x1.27e4f809c52adp-22);
    p = fma(z, p, 0x1.a01a019cb1590p-16);
    p = fma(z, p, -0x1.6c16c16c15177p-10);
    p = fma(z, p, 0x1.555555555554cp-5);
    return fma(z * z, p, fma(z, -0.5, 1.0));
}

void moe_rope_angles_scalar(float *c, float *s, const float *inv_freq, size_t n, uint32_t position,
                            float att) {
    for (size_t i = 0; i < n; i++) {
        const double a = (double)((float)position * inv_freq[i]);
        /* adding 1.5 * 2^52 rounds to an integer and leaves the quadrant in the low bits */
        const double t = fma(a, 0x1.45f306dc9c883p-1, 0x1.8p52), q = t - 0x1.8p52;
        double r = fma(q, -0x1.921fb54442d18p+0, a);
        r = fma(q, -0x1.1a62633145c07p-54, r);
        const double sin_r = sine(r), cos_r = cosine(r);
        uint64_t bits;
        memcpy(&bits, &t, sizeof bits);
        const double sin_a = bits & 1 ? cos_r : sin_r, cos_a = bits & 1 ? sin_r : cos_r;
        s[i] = (float)(bits & 2 ? -sin_a : sin_a) * att;
        c[i] = (float)((bits + 1) & 2 ? -cos_a : cos_a) * att;
    }
}

static void rotate(float *x, float *y, float c, float s) {
    const float a = *x, b = *y;
    *x = fmaf(a, c, -(b * s));
    *y = fmaf(b, c, a * s);
}

void moe_rope_half_scalar(float *x, const float *c, const float *s, size_t n) {
    for (size_t i = 0; i < n; i++) rotate(&x[i], &x[i + n], c[i], s[i]);
}

void moe_rope_interleaved_scalar(float *x, const float *c, const float *s, size_t n) {
    for (size_t i = 0; i < n; i++) rotate(&x[2 * i], &x[2 * i + 1], c[i], s[i]);
}
