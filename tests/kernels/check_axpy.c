#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

void check_axpy(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(*n), *y = check_floats(*n), *ref = check_floats(*n),
                  *got = check_floats(*n), a;
            check_fill(x, *n, (enum check_fill)kind);
            check_fill(y, *n, (enum check_fill)kind);
            check_fill(&a, 1, (enum check_fill)kind);
            memcpy(ref, y, *n * sizeof *ref);
            memcpy(got, y, *n * sizeof *got);
            c->ref->axpy(ref, x, *n, a);
            c->k.axpy(got, x, *n, a);
            check_same_bits(ref, got, *n, "axpy: n %zu", *n);
            for (size_t i = 0; c->scalar && kind == CHECK_UNIT && i < *n; i++) {
                const double want = (double)a * (double)x[i] + (double)y[i]; /* the product is exact */
                check_near(want, (double)got[i], CHECK_U * (1 + 0x1p-20) * fabs(want), "axpy: n %zu", *n);
            }
            check_reset();
        }
}
