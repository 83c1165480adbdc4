#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

/* The value by its definition, from the fields. */
static float value(enum moe_format f, const unsigned char *p) {
    const uint32_t half = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    if (f == MOE_FORMAT_F32) {
        float x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    const uint32_t fraction_bits = f == MOE_FORMAT_BF16 ? 7 : 10, exponent_bits = 15 - fraction_bits;
    const uint32_t fraction = half & ((1U << fraction_bits) - 1), largest = (1U << exponent_bits) - 1;
    const uint32_t exponent = half >> fraction_bits & largest;
    const int bias = (int)(largest / 2), unit = 1 - bias - (int)fraction_bits;
    double x;
    if (exponent == largest)
        x = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        x = ldexp((double)fraction, unit);
    else
        x = ldexp((double)(fraction | 1U << fraction_bits), unit + (int)exponent - 1);
    return (float)(half & 0x8000 ? -x : x);
}

void check_widen(const struct check *c, enum moe_format f) {
    const size_t bytes = moe_format_bits(f) / 8;
    for (const size_t *n = check_sizes; *n; n++) {
        const struct moe_matrix w = check_matrix(f, 3, *n, check_below(4), CHECK_SPECIAL);
        float *want = check_floats(*n), *got = check_floats(*n);
        for (size_t i = 0; i < *n; i++) want[i] = value(f, moe_matrix_row(&w, 2) + i * bytes);
        c->k.format[f].widen(got, &w, 2);
        check_same_bits(want, got, *n, "widen %s: n %zu", moe_format_name(f), *n);
        check_reset();
    }
    if (bytes != 2) return;
    unsigned char *all = check_bytes(2 << 16, 1);
    for (size_t i = 0; i < 2 << 16; i++) all[i] = (unsigned char)(i % 2 ? i >> 9 : i >> 1);
    const struct moe_matrix w = {.format = f, .rows = 1, .cols = 1 << 16, .row_bytes = 2 << 16, .data = all};
    float *want = check_floats(1 << 16), *got = check_floats(1 << 16);
    for (size_t i = 0; i < 1 << 16; i++) want[i] = value(f, all + 2 * i);
    c->k.format[f].widen(got, &w, 0);
    check_same_bits(want, got, 1 << 16, "widen every %s", moe_format_name(f));
    check_reset();
}
