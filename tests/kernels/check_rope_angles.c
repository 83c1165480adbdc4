#include "tests/kernels/check.h"

#include <math.h>

/* Against libm's double functions of the same fp32 angle: the nearest float to the true value, but for the
 * rare case where an error of 2^-52 decides a tie, then times att, rounded once more. */
static void near_libm(float got, double want, float att, uint32_t position, float inv_freq) {
    const double tolerance =
        (0.5 + 0x1p-20) * check_ulp(want) * fabs((double)att) + 0.5 * check_ulp(want * (double)att);
    check_near(want * (double)att, (double)got, tolerance, "rope_angles: position %u, inv_freq %a", position,
               (double)inv_freq);
}

static void check_position(const struct check *c, uint32_t position, size_t n, float att) {
    float *inv_freq = check_floats(n), *co = check_floats(n), *si = check_floats(n),
          *ref_co = check_floats(n), *ref_si = check_floats(n);
    const double theta = check_below(2) ? 1e4 : 1e6;
    for (size_t i = 0; i < n; i++) inv_freq[i] = (float)(1 / pow(theta, (double)i / (double)n));
    c->ref->rope_angles(ref_co, ref_si, inv_freq, n, position, att);
    c->k.rope_angles(co, si, inv_freq, n, position, att);
    check_same_bits(ref_co, co, n, "rope_angles: cosine at %u", position);
    check_same_bits(ref_si, si, n, "rope_angles: sine at %u", position);
    for (size_t i = 0; c->scalar && i < n; i++) {
        const double a = (double)((float)position * inv_freq[i]);
        near_libm(co[i], cos(a), att, position, inv_freq[i]);
        near_libm(si[i], sin(a), att, position, inv_freq[i]);
    }
    check_reset();
}

void check_rope_angles(const struct check *c) {
    for (uint32_t position = 0; position < 300; position++)
        check_position(c, position, 1 + check_below(67), 1);
    for (int i = 0; i < 3000; i++) check_position(c, (uint32_t)check_below(1 << 20), 64, 1);
    for (int i = 0; i < 300; i++) check_position(c, check_random(), 32, 1.3465735f);
    check_position(c, UINT32_MAX, 64, 1);
}
