#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

/* a product rounded, then the fused sum: u (|b s| + |result|), and |result| <= (1 + u) (|a c| + |b s|) */
static void near_double(const float *x, const float *got, const float *co, const float *si, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double a = (double)x[i], b = (double)x[i + n], s = (double)si[i], cosine = (double)co[i];
        const double error = 2 * CHECK_U * (1 + 0x1p-10);
        check_near(a * cosine - b * s, (double)got[i], error * (fabs(a * cosine) + fabs(b * s)),
                   "rope_half: n %zu", n);
        check_near(b * cosine + a * s, (double)got[i + n], error * (fabs(b * cosine) + fabs(a * s)),
                   "rope_half: n %zu", n);
    }
}

void check_rope_half(const struct check *c) {
    for (const size_t *n = check_sizes; *n && *n <= 160; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(2 * *n), *co = check_floats(*n), *si = check_floats(*n),
                  *ref = check_floats(2 * *n), *got = check_floats(2 * *n);
            check_fill(x, 2 * *n, (enum check_fill)kind);
            check_fill(co, *n, (enum check_fill)kind);
            check_fill(si, *n, (enum check_fill)kind);
            memcpy(ref, x, 2 * *n * sizeof *ref);
            memcpy(got, x, 2 * *n * sizeof *got);
            c->ref->rope_half(ref, co, si, *n);
            c->k.rope_half(got, co, si, *n);
            check_same_bits(ref, got, 2 * *n, "rope_half: n %zu", *n);
            if (c->scalar && kind == CHECK_UNIT) near_double(x, got, co, si, *n);
            check_reset();
        }
}
