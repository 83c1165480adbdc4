#include "tests/kernels/check.h"

#include <math.h>

/* Every term of the mean is positive: its relative error is at most (n / 32 + 5 + 2) u, the square root
 * halves it; root, quotient and two products add one u each. */
static void near_double(const float *y, const float *x, const float *gain, size_t n, float eps) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    const double r = 1 / sqrt(sum / (double)n + (double)eps);
    const double error = (((double)n / MOE_LANES + 8) / 2 + 4) * CHECK_U * (1 + 0x1p-10);
    for (size_t i = 0; i < n; i++) {
        const double want = (double)gain[i] * (double)x[i] * r;
        check_near(want, (double)y[i], fabs(want) * error + check_ulp(0), "rmsnorm: n %zu, element %zu", n,
                   i);
    }
}

void check_rmsnorm(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(*n), *gain = check_floats(*n), *ref = check_floats(*n),
                  *got = check_floats(*n);
            check_fill(x, *n, (enum check_fill)kind);
            check_fill(gain, *n, (enum check_fill)kind);
            const float eps = check_below(2) ? 1e-6f : 1e-5f;
            c->ref->rmsnorm(ref, x, gain, *n, eps);
            c->k.rmsnorm(got, x, gain, *n, eps);
            check_same_bits(ref, got, *n, "rmsnorm: n %zu", *n);
            if (c->scalar && kind == CHECK_UNIT) near_double(got, x, gain, *n, eps);
            c->k.rmsnorm(x, x, gain, *n, eps);
            check_same_bits(ref, x, *n, "rmsnorm in place: n %zu", *n);
            check_reset();
        }
}
