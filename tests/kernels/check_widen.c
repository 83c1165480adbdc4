/* Widening: every weight is the value that the format's definition gives, computed here from its fields in
 * double, which holds each product and sum exactly or rounds it where that cannot change the float. */
#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

/* A number of `exponent` and `fraction` bits below a sign bit, biased as IEEE 754 has it; whether the largest
 * exponent means infinity and NaN. */
static double number(uint32_t bits, uint32_t exponent_bits, uint32_t fraction_bits, bool ieee) {
    const uint32_t fraction = bits & ((1U << fraction_bits) - 1), largest = (1U << exponent_bits) - 1;
    const uint32_t exponent = bits >> fraction_bits & largest;
    const int bias = (int)(largest / 2), unit = 1 - bias - (int)fraction_bits;
    double x;
    if (ieee && exponent == largest)
        x = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        x = ldexp((double)fraction, unit);
    else
        x = ldexp((double)(fraction | 1U << fraction_bits), unit + (int)exponent - 1);
    return bits >> (exponent_bits + fraction_bits) & 1 ? -x : x;
}

static double plain(enum moe_format f, const unsigned char *p) {
    if (f == MOE_FORMAT_F32) {
        float x;
        memcpy(&x, p, sizeof x);
        return (double)x;
    }
    const uint32_t half = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    return f == MOE_FORMAT_F16 ? number(half, 5, 10, true) : number(half, 8, 7, true);
}

static uint32_t code(const unsigned char *row, size_t i, size_t bits) {
    uint32_t c = 0;
    for (size_t b = 0; b < bits; b++) c |= (uint32_t)(row[(i * bits + b) / 8] >> (i * bits + b) % 8 & 1) << b;
    return c;
}

/* Element i of row r of a packed matrix. */
static float packed(const struct moe_matrix *w, size_t r, size_t i) {
    const unsigned char *row = (const unsigned char *)w->data + r * w->row_bytes,
                        *block = row + i / 128 * 192;
    const size_t eighth = i / 8 % 4, quarter = i / 32 % 4, at = 16 * eighth + 8 * (quarter % 2) + i % 8;
    const size_t low = 64 + 64 * (quarter / 2) + at;
    unsigned char high =
        ((const unsigned char *)w->escapes.table)[quarter / 2 ? block[at] >> 4 : block[at] & 15];
    uint32_t first[2], b;
    memcpy(first, (const unsigned char *)w->escapes.first + 4 * r, sizeof first);
    for (uint32_t e = first[0]; e < first[1]; e++) {
        memcpy(&b, (const unsigned char *)w->escapes.block + 4 * e, sizeof b);
        if (b == i / 128) high = ((const unsigned char *)w->escapes.high)[128 * (size_t)e + low - 64];
    }
    return (float)plain(MOE_FORMAT_BF16, (unsigned char[]){block[low], high});
}

/* Element i of row r. */
static float value(const struct moe_matrix *w, size_t r, size_t i) {
    const unsigned char *row = (const unsigned char *)w->data + r * w->row_bytes;
    const size_t bits = moe_format_bits(w->format);
    if (moe_format_is_packed(w->format)) return packed(w, r, i);
    if (moe_format_is_plain(w->format)) return (float)plain(w->format, row + i * bits / 8);
    const uint32_t c = code(row, i, bits);
    const struct moe_scales *s = &w->scales;
    const size_t group_row = (s->first_row + r) / s->rows * s->row_bytes, group = i / s->columns;
    if (w->format == MOE_FORMAT_MXFP4) {
        const unsigned char scale = ((const unsigned char *)s->scale)[group_row + group];
        return (float)ldexp(number(c, 2, 1, false), scale - 127);
    }
    const size_t at = group_row + group * moe_format_bits(s->number) / 8;
    const double scale = plain(s->number, (const unsigned char *)s->scale + at);
    if (w->format == MOE_FORMAT_FP8)
        return (float)((c & 0x7f) == 0x7f ? (double)NAN : number(c, 4, 3, false) * scale);
    const float product = (float)(scale * c);
    return (float)((double)product + plain(s->number, (const unsigned char *)s->bias + at));
}

static void check_row(const struct check *c, const struct moe_matrix *w, size_t r) {
    float *want = check_floats(w->cols), *got = check_floats(w->cols);
    for (size_t i = 0; i < w->cols; i++) want[i] = value(w, r, i);
    c->k.format[w->format].widen(got, w, r);
    check_same_bits(want, got, w->cols, "widen %s: row %zu, n %zu", moe_format_name(w->format), r, w->cols);
}

/* A view of some rows has the same weights, and what the parts take is what the whole takes. */
static void check_view(const struct check *c, enum moe_format f) {
    const struct moe_matrix w = check_matrix(f, 200, 160, check_below(9), CHECK_UNIT);
    float *want = check_floats(160), *got = check_floats(160);
    for (size_t first = 0; first < 200; first += 1 + check_below(40)) {
        const struct moe_matrix view = moe_matrix_rows(&w, first, 200 - first);
        const struct moe_matrix inner = moe_matrix_rows(&view, (200 - first) / 2, 1);
        c->k.format[f].widen(want, &w, first + (200 - first) / 2);
        c->k.format[f].widen(got, &inner, 0);
        check_same_bits(want, got, 160, "widen %s: a view from row %zu", moe_format_name(f), first);
    }
    check_reset();
}

Test(matrix, bytes) {
    const struct moe_scales blocks = {
        .number = MOE_FORMAT_BF16, .columns = 128, .rows = 128, .first_row = 100};
    const struct moe_matrix fp8 = {
        .format = MOE_FORMAT_FP8, .rows = 29, .cols = 129, .row_bytes = 500, .scales = blocks};
    cr_assert_eq(moe_matrix_bytes(&fp8), 29 * 129 + 2 * 2 * 2);
    unsigned char bias = 0;
    const struct moe_scales groups = {.bias = &bias, .number = MOE_FORMAT_F32, .columns = 64, .rows = 1};
    const struct moe_matrix affine3 = {
        .format = MOE_FORMAT_AFFINE3, .rows = 7, .cols = 96, .row_bytes = 50, .scales = groups};
    cr_assert_eq(moe_matrix_bytes(&affine3), 7 * (36 + 2 * 2 * 4));
    const struct moe_scales bytes = {.columns = 32, .rows = 1};
    const struct moe_matrix mxfp4 = {
        .format = MOE_FORMAT_MXFP4, .rows = 7, .cols = 96, .row_bytes = 50, .scales = bytes};
    cr_assert_eq(moe_matrix_bytes(&mxfp4), 7 * (48 + 3));
    const struct moe_matrix bf16 = {.format = MOE_FORMAT_BF16, .rows = 3, .cols = 5, .row_bytes = 100};
    cr_assert_eq(moe_matrix_bytes(&bf16), 30);
    static const uint32_t first[] = {0, 1, 3, 3};
    static const unsigned char rows[3 * 700];
    const struct moe_matrix packed = {.format = MOE_FORMAT_PACKED,
                                      .rows = 3,
                                      .cols = 257,
                                      .row_bytes = 700,
                                      .data = rows,
                                      .escapes = {.first = first}};
    cr_assert_eq(moe_matrix_bytes(&packed), 3 * 3 * 192 + 16 + 4 * 4 + 3 * (4 + 128));
    const struct moe_matrix tail = moe_matrix_rows(&packed, 1, 2);
    cr_assert_eq(moe_matrix_bytes(&tail), 2 * 3 * 192 + 16 + 3 * 4 + 2 * (4 + 128));
}

static void check_every_half(const struct check *c, enum moe_format f) {
    unsigned char *all = check_bytes(2 << 16, 1);
    for (size_t i = 0; i < 2 << 16; i++) all[i] = (unsigned char)(i % 2 ? i >> 9 : i >> 1);
    const struct moe_matrix w = {.format = f, .rows = 1, .cols = 1 << 16, .row_bytes = 2 << 16, .data = all};
    check_row(c, &w, 0);
    check_reset();
}

/* Every byte of codes at every place of a word under some scales, and every scale of MXFP4. */
static void check_every_code(const struct check *c, enum moe_format f) {
    for (int kind = 0; kind < CHECK_FILLS; kind++)
        for (size_t n = 0; n < 40; n++) {
            struct moe_matrix w = check_matrix(f, 2, 2048, 0, (enum check_fill)kind);
            unsigned char *all = check_bytes(2 * w.row_bytes, 1);
            for (size_t i = 0; i < 2 * w.row_bytes; i++) all[i] = (unsigned char)(i * (2 * n + 1) >> 2);
            w.data = all;
            check_row(c, &w, 1);
            check_reset();
        }
    if (f != MOE_FORMAT_MXFP4) return;
    unsigned char scales[256], *codes = check_bytes(256 * 16, 1);
    for (size_t i = 0; i < 256; i++) {
        scales[i] = (unsigned char)i;
        for (size_t b = 0; b < 16; b++) codes[16 * i + b] = (unsigned char)(b * 0x11 + 0x70);
    }
    const struct moe_matrix w = {.format = f,
                                 .rows = 1,
                                 .cols = 256 * 32,
                                 .row_bytes = 256 * 16,
                                 .data = codes,
                                 .scales = {.scale = scales, .row_bytes = 256, .columns = 32, .rows = 1}};
    check_row(c, &w, 0);
    check_reset();
}

void check_widen(const struct check *c, enum moe_format f) {
    for (const size_t *n = check_sizes; *n; n++)
        for (int kind = 0; kind < CHECK_FILLS; kind++) {
            const struct moe_matrix w =
                check_matrix(f, 3, check_cols(f, *n), check_below(4), (enum check_fill)kind);
            check_row(c, &w, check_below(3));
            check_reset();
        }
    check_view(c, f);
    if (moe_format_bits(f) == 16) check_every_half(c, f);
    if (moe_format_is_quantised(f)) check_every_code(c, f);
}
