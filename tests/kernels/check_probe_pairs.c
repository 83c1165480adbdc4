#include "tests/kernels/check.h"

void check_probe_pairs(const struct check *c) {
    for (size_t n = 0; n < 5; n++) {
        const float want = 1, got = c->k.probe_pairs(n);
        check_same_bits(&want, &got, 1, "probe_pairs: %zu rounds", n);
    }
}
