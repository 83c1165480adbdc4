#include "tests/kernels/check.h"

#include <string.h>

/* Against the scalar table, which is held against rope_half on the same pairs. */
void check_rope_interleaved(const struct check *c) {
    for (const size_t *n = check_sizes; *n && *n <= 160; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            float *x = check_floats(2 * *n), *co = check_floats(*n), *si = check_floats(*n),
                  *ref = check_floats(2 * *n), *got = check_floats(2 * *n), *half = check_floats(2 * *n);
            check_fill(x, 2 * *n, (enum check_fill)kind);
            check_fill(co, *n, (enum check_fill)kind);
            check_fill(si, *n, (enum check_fill)kind);
            for (size_t i = 0; i < *n; i++) {
                half[i] = x[2 * i];
                half[i + *n] = x[2 * i + 1];
            }
            memcpy(ref, x, 2 * *n * sizeof *ref);
            memcpy(got, x, 2 * *n * sizeof *got);
            c->ref->rope_interleaved(ref, co, si, *n);
            c->ref->rope_half(half, co, si, *n);
            c->k.rope_interleaved(got, co, si, *n);
            check_same_bits(ref, got, 2 * *n, "rope_interleaved: n %zu", *n);
            for (size_t i = 0; i < *n; i++) {
                const float pair[2] = {half[i], half[i + *n]};
                check_same_bits(pair, ref + 2 * i, 2, "rope_interleaved and rope_half: pair %zu of %zu", i,
                                *n);
            }
            check_reset();
        }
}
