#include "tests/kernels/check.h"

#include <math.h>

/* The argument of exp is rounded (u |x - m|, twice: in the term and in z), exp 2 u, z (n / 32 + 5) u more
 * than its terms, the quotient u. */
static void near_double(const float *y, const float *x, size_t n) {
    double max = -INFINITY, z = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, (double)x[i]);
    for (size_t i = 0; i < n; i++) z += exp((double)x[i] - max);
    for (size_t i = 0; i < n; i++) {
        const double want = exp((double)x[i] - max) / z;
        const double error = (2 * 20 + 4 + (double)n / MOE_LANES + 7) * CHECK_U;
        check_near(want, (double)y[i], want * error, "softmax: element %zu of %zu", i, n);
    }
}

static void check_case(const struct check *c, float *x, size_t n, bool tame) {
    float *ref = check_floats(n), *got = check_floats(n);
    c->ref->softmax(ref, x, n);
    c->k.softmax(got, x, n);
    check_same_bits(ref, got, n, "softmax: n %zu", n);
    if (c->scalar && tame) near_double(got, x, n);
    c->k.softmax(x, x, n);
    check_same_bits(ref, x, n, "softmax in place: n %zu", n);
    check_reset();
}

void check_softmax(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS + 1; kind++) {
            float *x = check_floats(*n);
            check_fill(x, *n, kind < CHECK_FILLS ? (enum check_fill)kind : CHECK_UNIT);
            for (size_t i = 0; i < *n; i++) {
                if (kind == CHECK_UNIT) x[i] *= 10;
                if (kind == CHECK_FILLS && check_below(3) == 0) x[i] = -INFINITY;
            }
            check_case(c, x, *n, kind == CHECK_UNIT);
        }
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0};
    for (size_t n = 1; n < 40; n += 3)
        for (size_t o = 0; o < sizeof odd / sizeof *odd; o++) {
            float *x = check_floats(n);
            for (size_t i = 0; i < n; i++) x[i] = odd[o];
            check_case(c, x, n, false);
        }
}
