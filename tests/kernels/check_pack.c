#include "tests/kernels/check.h"

/* Which element of a block lies at place l, by the words of base/matrix.h. */
static size_t element(enum moe_layout layout, size_t l) {
    if (layout == MOE_LAYOUT_EVEN_ODD) return l < 16 ? 2 * l : 2 * (l - 16) + 1;
    if (layout == MOE_LAYOUT_QUADS) return 4 * (l % 16) + l / 16;
    return l;
}

void check_pack(const struct check *c, enum moe_layout layout) {
    const size_t block = layout == MOE_LAYOUT_QUADS ? 64 : 32;
    for (const size_t *n = check_sizes; *n; n++) {
        const size_t padded = (*n + block - 1) / block * block;
        float *x = check_floats(*n), *want = check_floats(padded), *got = check_aligned_floats(padded);
        check_fill(x, *n, CHECK_SPECIAL);
        for (size_t i = 0; i < padded; i++) {
            const size_t at = i / block * block + element(layout, i % block);
            want[i] = at < *n ? x[at] : 0;
        }
        c->k.layout[layout].pack(got, x, *n);
        check_same_bits(want, got, padded, "pack, layout %d: k %zu", (int)layout, *n);
        check_reset();
    }
}
