#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

#include "base/convert.h"

/* Which element of a block lies at place l, by the words of base/matrix.h. */
static size_t element(enum moe_layout layout, size_t l) {
    if (layout == MOE_LAYOUT_EVEN_ODD) return l < 16 ? 2 * l : 2 * (l - 16) + 1;
    if (layout == MOE_LAYOUT_QUADS) return 4 * (l % 16) + l / 16;
    return l;
}

/* The number of 8 bits nearest to x, of two the one whose last bit is 0; as far as a float goes. */
static double nearest(double x) {
    int exponent;
    if (isnan(x) || isinf(x) || x == 0) return x;
    frexp(x, &exponent);
    if (exponent < -125) exponent = -125; /* subnormal: a unit is 2^-133 */
    const double unit = ldexp(1, exponent - 8), y = nearbyint(x / unit) * unit;
    return fabs(y) < 0x1p128 ? y : copysign((double)INFINITY, x);
}

static void check_pairs(const struct check *c) {
    for (const size_t *n = check_sizes; *n; n++) {
        const size_t padded = (*n + 31) / 32 * 32;
        float *x = check_floats(*n), *got = check_aligned_floats(padded / 2);
        float *want = check_floats(padded), *widened = check_floats(padded);
        check_fill(x, *n, (enum check_fill)check_below(CHECK_FILLS));
        for (size_t i = 0; i < *n; i++) { /* ties, and what is next to one */
            static const uint32_t low[] = {0x8000, 0x7fff, 0x8001, 0xffff, 0};
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            if (check_below(4) == 0 && !isnan(x[i])) bits = (bits & 0xffff0000) | low[check_below(5)];
            memcpy(&x[i], &bits, sizeof bits);
        }
        for (size_t i = 0; i < padded; i++) want[i] = i < *n ? (float)nearest((double)x[i]) : 0;
        c->k.layout[MOE_LAYOUT_PAIRS].pack(got, x, *n);
        moe_convert_to_f32(widened, MOE_FORMAT_BF16, got, padded);
        check_same_bits(want, widened, padded, "pack in pairs: k %zu", *n);
        check_reset();
    }
}

void check_pack(const struct check *c, enum moe_layout layout) {
    if (layout == MOE_LAYOUT_PAIRS) {
        check_pairs(c);
        return;
    }
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
