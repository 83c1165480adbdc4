#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

/* A million arguments where exp is above 1 and shows in the quotient, bit for bit: a single rounding more or
 * less in its polynomial changes one result in thousands. */
static void sweep(const struct check *c) {
    enum { N = 4096, STEP = 251 };
    for (uint32_t bits = 0x80000000; bits < 0xc2b40000; bits += N * STEP) { /* -0 .. -90 */
        float *x = check_floats(N), *ref = check_floats(N), *got = check_floats(N);
        for (uint32_t i = 0; i < N; i++) {
            const uint32_t b = bits + i * STEP;
            memcpy(&x[i], &b, sizeof b);
        }
        c->ref->sigmoid(ref, x, N);
        c->k.sigmoid(got, x, N);
        check_same_bits(ref, got, N, "sigmoid from %08x on", bits);
        check_reset();
    }
}

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
    if (!c->scalar) sweep(c);
}
