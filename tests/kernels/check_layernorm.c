#include "tests/kernels/check.h"

#include <math.h>

/* The mean is off by at most `drift` = (n / 32 + 7) u of the mean of |x|. That shifts every difference, and
 * adds drift^2 to the variance (the exact differences add up to 0), whose other terms are positive: relative
 * (n / 32 + 9) u, halved by the root; root, quotient, difference and two products add one u each, the last
 * sum one u of its result. */
static void near_double(const float *y, const float *x, const float *gain, const float *bias, size_t n,
                        float eps) {
    double mean = 0, size = 0, var = 0;
    for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++) size += fabs((double)x[i]) / (double)n;
    for (size_t i = 0; i < n; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    const double blocks = (double)n / MOE_LANES, drift = (blocks + 7) * CHECK_U * size;
    const double r = 1 / sqrt(var + (double)eps);
    const double error = ((blocks + 9) * CHECK_U + drift * drift * r * r) / 2 + 5 * CHECK_U;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - mean, factor = r * (double)gain[i];
        const double want = d * factor + (bias ? (double)bias[i] : 0);
        const double tolerance = fabs(factor) * (drift + (fabs(d) + drift) * error) + CHECK_U * fabs(want);
        check_near(want, (double)y[i], tolerance * (1 + 0x1p-10) + check_ulp(0),
                   "layernorm: n %zu, element %zu", n, i);
    }
}

void check_layernorm(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < 2 * CHECK_FILLS; kind++) {
            const enum check_fill fill = (enum check_fill)(kind % CHECK_FILLS);
            float *x = check_floats(*n), *gain = check_floats(*n), *ref = check_floats(*n),
                  *got = check_floats(*n), *bias = kind < CHECK_FILLS ? check_floats(*n) : NULL;
            check_fill(x, *n, fill);
            check_fill(gain, *n, fill);
            if (bias) check_fill(bias, *n, fill);
            for (size_t i = 0; fill == CHECK_UNIT && i < *n; i++) x[i] += 3; /* a mean that matters */
            const float eps = check_below(2) ? 1e-6f : 1e-5f;
            c->ref->layernorm(ref, x, gain, bias, *n, eps);
            c->k.layernorm(got, x, gain, bias, *n, eps);
            check_same_bits(ref, got, *n, "layernorm: n %zu", *n);
            if (c->scalar && fill == CHECK_UNIT) near_double(got, x, gain, bias, *n, eps);
            c->k.layernorm(x, x, gain, bias, *n, eps);
            check_same_bits(ref, x, *n, "layernorm in place: n %zu", *n);
            check_reset();
        }
}
