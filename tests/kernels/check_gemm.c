/* GEMM: the scalar dot product's bits for every shape, every remainder, gathered rows, weights at odd
 * addresses. */
#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

#include "base/convert.h"

struct shape {
    size_t n, cols, k;
};

/* Rows of activations: packed, and drawn from more rows than are used when `index` is wanted. */
static struct moe_rows random_rows(const struct check *c, enum moe_format f, size_t n, size_t k,
                                   enum check_fill kind, bool gather) {
    const size_t padded = moe_layout_floats(moe_format_layout(f), k);
    const size_t ld = padded + 16 * check_below(3), stored = gather ? n + 3 : n;
    float *data = check_aligned_floats(stored ? stored * ld - (ld - padded) : 0), *plain = check_floats(k);
    uint32_t *index = gather ? check_bytes(n * sizeof *index, sizeof *index) : NULL;
    for (size_t i = 0; i < stored; i++) {
        check_fill(plain, k, kind);
        c->ref->layout[moe_format_layout(f)].pack(data + i * ld, plain, k);
    }
    for (size_t i = 0; index && i < n; i++) index[i] = (uint32_t)check_below(stored);
    return (struct moe_rows){.data = data, .ld = ld, .n = n, .index = index};
}

static double packed_at(enum moe_layout layout, const float *row, size_t j) {
    return (double)moe_number(layout == MOE_LAYOUT_PAIRS ? MOE_FORMAT_BF16 : MOE_FORMAT_F32, row, j);
}

/* The plain sum in double: (k / 32 + 5) roundings in each term's way, or twice as many in pairs, and one of
 * the last addition. There subnormal operands (the others are less than 2) and results are lost, too. */
static void near_double(enum moe_format f, const float *y, const struct moe_rows *x,
                        const struct moe_matrix *w, size_t i, size_t col) {
    const enum moe_layout layout = moe_format_layout(f);
    const size_t padded = moe_layout_padded(layout, w->cols);
    const float *row = x->data + (x->index ? x->index[i] : i) * x->ld;
    float *weights = check_floats(w->cols),
          *packed = check_aligned_floats(moe_layout_floats(layout, w->cols));
    moe_kernels_scalar.format[f].widen(weights, w, col);
    moe_kernels_scalar.layout[layout].pack(packed, weights, w->cols);
    double sum = 0, terms = 0;
    for (size_t j = 0; j < padded; j++) {
        const double term = packed_at(layout, packed, j) * packed_at(layout, row, j);
        sum += term;
        terms += fabs(term);
    }
    const double lanes = layout == MOE_LAYOUT_PAIRS ? MOE_LANES / 2 : MOE_LANES;
    const double error = ((double)padded / lanes + 6) * CHECK_U * (1 + 0x1p-10);
    const double flushed = layout == MOE_LAYOUT_PAIRS ? 3 * (double)padded * 0x1p-126 : 0;
    check_near(sum, (double)*y, error * terms + flushed, "gemm %s: k %zu, row %zu, column %zu",
               moe_format_name(f), w->cols, i, col);
}

static void check_shape(const struct check *c, enum moe_format f, struct shape s, enum check_fill kind) {
    s.k = check_cols(f, s.k);
    const size_t first = check_below(4), ld_y = first + s.cols + check_below(4), n_y = s.n * ld_y;
    const size_t w_rows = first + s.cols + check_below(2);
    const struct moe_matrix w =
        check_matrix(f, w_rows ? w_rows : 1, s.k, check_below(2) ? check_below(9) : 0, kind);
    const struct moe_rows x = random_rows(c, f, s.n, s.k, kind, check_below(2));
    float *ref = check_floats(n_y), *got = check_floats(n_y);
    for (size_t i = 0; i < n_y; i++) ref[i] = got[i] = 12345; /* what is not asked for stays */
    c->ref->format[f].gemm(ref, ld_y, &x, &w, first, s.cols);
    c->k.format[f].gemm(got, ld_y, &x, &w, first, s.cols);
    check_same_bits(ref, got, n_y, "gemm %s: %zu rows, %zu columns from %zu, k %zu, ld_y %zu%s",
                    moe_format_name(f), s.n, s.cols, first, s.k, ld_y, x.index ? ", gathered" : "");
    if (c->scalar && kind == CHECK_UNIT && s.cols) {
        const size_t i = check_below(s.n), col = first + check_below(s.cols);
        near_double(f, &got[i * ld_y + col], &x, &w, i, col);
    }
    check_reset();
}

/* Each element of a large product is the dot product computed alone by the same table. */
static void check_alone(const struct check *c, enum moe_format f, struct shape s) {
    s.k = check_cols(f, s.k);
    const struct moe_matrix w = check_matrix(f, s.cols, s.k, 0, CHECK_UNIT);
    const struct moe_rows x = random_rows(c, f, s.n, s.k, CHECK_UNIT, false);
    float *all = check_floats(s.n * s.cols), *alone = check_floats(s.n * s.cols);
    c->k.format[f].gemm(all, s.cols, &x, &w, 0, s.cols);
    for (size_t i = 0; i < s.n; i++)
        for (size_t col = 0; col < s.cols; col++) {
            const struct moe_rows one = {.data = x.data + i * x.ld, .ld = x.ld, .n = 1};
            c->k.format[f].gemm(alone + i * s.cols, s.cols, &one, &w, col, 1);
        }
    check_same_bits(alone, all, s.n * s.cols, "gemm %s: %zu rows, %zu columns, k %zu against each alone",
                    moe_format_name(f), s.n, s.cols, s.k);
    check_reset();
}

/* Packed weights give the bits that they give in BF16. */
static void check_packed_product(const struct check *c, enum moe_format f, struct shape s,
                                 enum check_fill kind) {
    const enum moe_format plain = f == MOE_FORMAT_PACKED ? MOE_FORMAT_BF16 : MOE_FORMAT_BF16_PAIRS;
    struct check_packed w = check_packed(s.cols, s.k, 0, kind);
    const struct moe_rows x = random_rows(c, f, s.n, s.k, kind, false);
    const size_t n = s.n * s.cols;
    float *want = check_floats(n), *got = check_floats(n);
    w.source.format = plain;
    w.packed.format = f;
    c->k.format[plain].gemm(want, s.cols, &x, &w.source, 0, s.cols);
    c->k.format[f].gemm(got, s.cols, &x, &w.packed, 0, s.cols);
    check_same_bits(want, got, n, "gemm packed BF16 against BF16: %zu rows, %zu columns, k %zu", s.n, s.cols,
                    s.k);
    if (kind == CHECK_UNIT) cr_assert(memcmp(want, got, n * sizeof *want) == 0); /* no NaN is among them */
    check_reset();
}

void check_gemm(const struct check *c, enum moe_format f) {
    for (size_t k = 1; k <= 131; k++)
        for (int kind = 0; kind < CHECK_FILLS; kind++)
            check_shape(c, f, (struct shape){1 + check_below(6), 1 + check_below(15), k},
                        (enum check_fill)kind);
    for (size_t k = 160; k <= 1088; k += 32)
        for (int kind = 0; kind < CHECK_FILLS; kind++)
            check_shape(c, f, (struct shape){1 + check_below(6), 1 + check_below(9), k},
                        (enum check_fill)kind);
    static const size_t ks[] = {40, 64, 192};
    for (size_t i = 0; i < 3; i++)
        for (size_t n = 0; n <= 9; n++)
            for (size_t cols = 0; cols <= 20; cols++)
                if (n || !c->scalar) check_shape(c, f, (struct shape){n, cols, ks[i]}, CHECK_UNIT);
    static const struct shape typical[] = {{1, 96, 2048},  {2, 48, 768}, {3, 50, 1408}, {8, 48, 2048},
                                           {17, 31, 1024}, {67, 7, 256}, {130, 13, 65}, {1, 1, 4096},
                                           {5, 2, 14336},  {1, 9, 5000}, {67, 7, 1600}, {3, 8, 2090}};
    for (size_t i = 0; i < sizeof typical / sizeof *typical; i++) check_shape(c, f, typical[i], CHECK_UNIT);
    check_alone(c, f, (struct shape){37, 41, 300});
    check_alone(c, f, (struct shape){5, 100, 1000});
    for (size_t i = 0; moe_format_is_packed(f) && i < 300; i++)
        check_packed_product(
            c, f,
            (struct shape){1 + check_below(18), 1 + check_below(20), 1 + check_below(i % 3 ? 500 : 3000)},
            check_below(2) ? CHECK_UNIT : (enum check_fill)check_below(CHECK_FILLS));
}
