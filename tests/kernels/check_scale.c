#include "tests/kernels/check.h"

void check_scale(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(*n), *ref = check_floats(*n), *got = check_floats(*n), a;
            check_fill(x, *n, (enum check_fill)kind);
            check_fill(&a, 1, (enum check_fill)kind);
            for (size_t i = 0; c->scalar && i < *n; i++) ref[i] = (float)((double)a * (double)x[i]);
            if (!c->scalar) c->ref->scale(ref, x, *n, a);
            c->k.scale(got, x, *n, a);
            check_same_bits(ref, got, *n, "scale: n %zu", *n);
            c->k.scale(x, x, *n, a);
            check_same_bits(ref, x, *n, "scale in place: n %zu", *n);
            check_reset();
        }
}
