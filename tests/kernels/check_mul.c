#include "tests/kernels/check.h"

#include <string.h>

void check_mul(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(*n), *ref = check_floats(*n), *got = check_floats(*n);
            check_fill(x, *n, (enum check_fill)kind);
            check_fill(ref, *n, (enum check_fill)kind);
            memcpy(got, ref, *n * sizeof *got);
            for (size_t i = 0; c->scalar && i < *n; i++) ref[i] = (float)((double)ref[i] * (double)x[i]);
            if (!c->scalar) c->ref->mul(ref, x, *n);
            c->k.mul(got, x, *n);
            check_same_bits(ref, got, *n, "mul: n %zu", *n);
            check_reset();
        }
}
