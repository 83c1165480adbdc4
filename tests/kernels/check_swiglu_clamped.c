#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

/* alpha g is rounded, which exp turns into u |alpha g|; exp within 1 ulp = 2 u; two sums, a quotient and two
 * products: u each. NaN stays NaN, infinities meet the limit. */
static void near_double(const float *y, const float *gate, const float *up, size_t n, float alpha,
                        float limit) {
    for (size_t i = 0; i < n; i++) {
        if (isnan(gate[i]) || isnan(up[i])) {
            if (!isnan(y[i])) cr_assert_fail("swiglu_clamped: of NaN %g", (double)y[i]);
            continue;
        }
        const double g = fmin((double)gate[i], (double)limit);
        const double u = fmax(fmin((double)up[i], (double)limit), -(double)limit);
        if (fabs((double)alpha * g) > 80) continue; /* exp overflows in float */
        const double want = (u + 1) * g / (1 + exp(-(double)alpha * g));
        const double error = (fabs((double)alpha * g) + 8) * CHECK_U * (1 + 0x1p-10);
        check_near(want, (double)y[i], fabs(want) * error + check_ulp(0), "swiglu_clamped of %a, %a",
                   (double)gate[i], (double)up[i]);
    }
}

void check_swiglu_clamped(const struct check *c) {
    static const float limits[] = {0, 0.5f, 7, 1e9f};
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *gate = check_floats(*n), *up = check_floats(*n), *ref = check_floats(*n),
                  *got = check_floats(*n);
            const float alpha = check_below(2) ? 1.702f : -0.3f, limit = limits[check_below(4)];
            check_fill(gate, *n, (enum check_fill)kind);
            check_fill(up, *n, (enum check_fill)kind);
            for (size_t i = 0; i < *n; i++) {
                gate[i] *= 20;
                up[i] *= 10;
            }
            c->ref->swiglu_clamped(ref, gate, up, *n, alpha, limit);
            c->k.swiglu_clamped(got, gate, up, *n, alpha, limit);
            check_same_bits(ref, got, *n, "swiglu_clamped: n %zu", *n);
            if (c->scalar && kind != CHECK_WIDE) near_double(got, gate, up, *n, alpha, limit);
            memcpy(got, gate, *n * sizeof *got);
            c->k.swiglu_clamped(got, got, up, *n, alpha, limit);
            check_same_bits(ref, got, *n, "swiglu_clamped over gate: n %zu", *n);
            c->k.swiglu_clamped(up, gate, up, *n, alpha, limit);
            check_same_bits(ref, up, *n, "swiglu_clamped over up: n %zu", *n);
            check_reset();
        }
}
