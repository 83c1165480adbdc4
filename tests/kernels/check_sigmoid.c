#include "tests/kernels/check.h"

#include <math.h>

void check_sigmoid(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(*n), *ref = check_floats(*n), *got = check_floats(*n);
            check_fill(x, *n, (enum check_fill)kind);
            for (size_t i = 0; i < *n; i++) x[i] *= 50;
            c->ref->sigmoid(ref, x, *n);
            c->k.sigmoid(got, x, *n);
            check_same_bits(ref, got, *n, "sigmoid: n %zu", *n);
            for (size_t i = 0; c->scalar && kind == CHECK_UNIT && i < *n; i++) {
                /* exp within 1 ulp = 2 u, then sum and quotient: u each */
                const double want = 1 / (1 + exp(-(double)x[i]));
                check_near(want, (double)got[i], want * 4 * CHECK_U * (1 + 0x1p-10), "sigmoid of %a",
                           (double)x[i]);
            }
            c->k.sigmoid(x, x, *n);
            check_same_bits(ref, x, *n, "sigmoid in place: n %zu", *n);
            check_reset();
        }
}
