#include "tests/kernels/check.h"

#include <math.h>

void check_softplus(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(*n), *ref = check_floats(*n), *got = check_floats(*n);
            check_fill(x, *n, (enum check_fill)kind);
            for (size_t i = 0; i < *n; i++) x[i] *= 50;
            c->ref->softplus(ref, x, *n);
            c->k.softplus(got, x, *n);
            check_same_bits(ref, got, *n, "softplus: n %zu", *n);
            for (size_t i = 0; c->scalar && kind == CHECK_UNIT && i < *n; i++) {
                const double e = (double)x[i], want = e > 0 ? e + log1p(exp(-e)) : log1p(exp(e));
                /* above 20 what is left out is below half an ulp of x */
                check_near(want, (double)got[i], want * 2 * CHECK_U, "softplus of %a", e);
            }
            c->k.softplus(x, x, *n);
            check_same_bits(ref, x, *n, "softplus in place: n %zu", *n);
            check_reset();
        }
}
