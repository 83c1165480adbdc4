#ifndef MOE_BASE_CONVERT_H
#define MOE_BASE_CONVERT_H
/* Exact widening of stored numbers to fp32. */

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

/* IEEE 754 binary16; subnormals become normal fp32 numbers. */
static inline float moe_float_of_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return moe_float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return moe_float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float x = (float)fraction * 0x1p-24f;
    return sign ? -x : x;
}

/* out [n] from n stored numbers at data, of any alignment. */
void moe_convert_to_f32(float *out, enum moe_format format, const void *data, size_t n);

#endif
