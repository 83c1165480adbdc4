#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

void check_swiglu(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *gate = check_floats(*n), *up = check_floats(*n), *ref = check_floats(*n),
                  *got = check_floats(*n);
            check_fill(gate, *n, (enum check_fill)kind);
            check_fill(up, *n, (enum check_fill)kind);
            for (size_t i = 0; i < *n; i++) gate[i] *= 20;
            c->ref->swiglu(ref, gate, up, *n);
            c->k.swiglu(got, gate, up, *n);
            check_same_bits(ref, got, *n, "swiglu: n %zu", *n);
            for (size_t i = 0; c->scalar && kind == CHECK_UNIT && i < *n; i++) {
                /* exp within 1 ulp = 2 u, then sum, quotient and product: u each */
                const double want = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
                check_near(want, (double)got[i], fabs(want) * 5 * CHECK_U * (1 + 0x1p-10) + check_ulp(0),
                           "swiglu of %a", (double)gate[i]);
            }
            memcpy(got, gate, *n * sizeof *got);
            c->k.swiglu(got, got, up, *n);
            check_same_bits(ref, got, *n, "swiglu over gate: n %zu", *n);
            c->k.swiglu(up, gate, up, *n);
            check_same_bits(ref, up, *n, "swiglu over up: n %zu", *n);
            check_reset();
        }
}
