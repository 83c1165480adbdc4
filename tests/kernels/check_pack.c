#include "tests/kernels/check.h"

void check_pack(const struct check *c, enum moe_layout layout) {
    for (const size_t *n = check_sizes; *n; n++) {
        const size_t padded = moe_padded(*n);
        float *x = check_floats(*n), *want = check_floats(padded), *got = check_aligned_floats(padded);
        check_fill(x, *n, CHECK_SPECIAL);
        for (size_t i = 0; i < padded; i++) {
            const size_t l = i % MOE_LANES;
            const size_t element =
                layout == MOE_LAYOUT_NATURAL ? i : i - l + (l < 16 ? 2 * l : 2 * (l - 16) + 1);
            want[i] = element < *n ? x[element] : 0;
        }
        c->k.layout[layout].pack(got, x, *n);
        check_same_bits(want, got, padded, "pack, layout %d: k %zu", (int)layout, *n);
        check_reset();
    }
}
