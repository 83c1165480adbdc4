#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

void check_clamp(const struct check *c) {
    static const float limits[] = {0, 0.25f, 7, INFINITY};
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++)
            for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
                float *ref = check_floats(*n), *got = check_floats(*n);
                check_fill(ref, *n, (enum check_fill)kind);
                memcpy(got, ref, *n * sizeof *got);
                const float before = ref[*n - 1];
                c->ref->clamp(ref, *n, limits[l]);
                c->k.clamp(got, *n, limits[l]);
                check_same_bits(ref, got, *n, "clamp to %g: n %zu", (double)limits[l], *n);
                if (isnan(before) ? !isnan(ref[*n - 1])
                                  : ref[*n - 1] != fmaxf(-limits[l], fminf(limits[l], before)))
                    cr_assert_fail("clamp of %g to %g: %g", (double)before, (double)limits[l],
                                   (double)ref[*n - 1]);
                check_reset();
            }
}
