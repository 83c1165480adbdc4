#ifndef MOE_BASE_CONVERT_H
#define MOE_BASE_CONVERT_H
/* Exact widening of stored numbers to fp32: the definition of every storage format's weights (of PACKED,
 * together with base/packed.c). docs/formats.md tells what the bytes mean. */

#include <stdint.h>
#include <string.h>

#include "base/matrix.h"

static inline float moe_float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float moe_float_of_bf16(uint16_t h) {
    return moe_float_of_bits((uint32_t)h << 16);
}

/* The nearest bfloat16, of two the even one; a NaN stays one, made quiet. */
static inline uint16_t moe_bf16_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* IEEE 754 binary16; subnormals become normal fp32 numbers. */
static inline float moe_float_of_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return moe_float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return moe_float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float x = (float)fraction * 0x1p-24f;
    return sign ? -x : x;
}

/* e4m3fn: no infinities; 0x7f and 0xff are NaN. */
static inline float moe_float_of_e4m3(uint8_t c) {
    uint32_t sign = (uint32_t)(c & 0x80) << 24, rest = c & 0x7f;
    if (rest == 0x7f) return moe_float_of_bits(sign | 0x7fc00000);
    if (rest >= 8) return moe_float_of_bits(sign | (rest + (120 << 3)) << 20);
    float x = (float)rest * 0x1p-9f;
    return sign ? -x : x;
}

/* MXFP4: weight = value of the code * 2^(s - 127). 2^(255 - 127) is no float, so it is computed as twice the
 * value, times 2^(s - 128): the same number, exactly, or infinity where it is too large for fp32. */
extern const float moe_fp4_doubled[16];

static inline float moe_mxfp4_half_scale(uint8_t s) {
    return moe_float_of_bits(s < 2 ? 0x00200000U << s : (uint32_t)(s - 1) << 23);
}

/* The i-th number at p, of a plain format. */
static inline float moe_number(enum moe_format format, const void *p, size_t i) {
    uint16_t h;
    if (format == MOE_FORMAT_F32) {
        float x;
        memcpy(&x, (const unsigned char *)p + i * sizeof x, sizeof x);
        return x;
    }
    memcpy(&h, (const unsigned char *)p + i * sizeof h, sizeof h);
    return format == MOE_FORMAT_F16 ? moe_float_of_f16(h) : moe_float_of_bf16(h);
}

/* out [n] from n stored numbers at data, of any alignment. Plain formats. */
void moe_convert_to_f32(float *out, enum moe_format format, const void *data, size_t n);

/* y[j] = element j of row r of w, exactly, in natural order.   y [w->cols] */
void moe_matrix_widen(float *y, const struct moe_matrix *w, size_t r);
/* The same for the elements [first, first + n).   y [n] */
void moe_matrix_widen_part(float *y, const struct moe_matrix *w, size_t r, size_t first, size_t n);

#endif
