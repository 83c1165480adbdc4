/* Operations of a storage format or of a layout of activations. */
#include <stdio.h>
#include <stdlib.h>

#include "base/packed.h"
#include "bench/kernel_bench.h"

struct product {
    enum moe_format format;
    struct moe_rows x;
    struct moe_matrix w;
    float *y;
    size_t n_cols; /* per call */
    size_t first;  /* of the next call: they walk over the rows of w and go on where the last sample ended, or
                    * all samples would read the same part, from a cache */
};

static void run_gemm(struct bench *b, void *args, size_t times) {
    struct product *p = args;
    for (size_t i = 0; i < times; i++) {
        float *y = (float *)((uintptr_t)p->y - p->first * sizeof *y); /* all into the same columns */
        b->k.format[p->format].gemm(y, p->n_cols, &p->x, &p->w, p->first, p->n_cols);
        p->first = p->first + 2 * p->n_cols <= p->w.rows ? p->first + p->n_cols : 0;
    }
}

/* Scales of a quantised format, as checkpoints have them: the same for every row of groups. */
static void add_scales(const struct bench *b, struct moe_matrix *w) {
    const bool fp8 = w->format == MOE_FORMAT_FP8, mxfp4 = w->format == MOE_FORMAT_MXFP4;
    w->scales = (struct moe_scales){.scale = mxfp4 ? b->powers : b->big,
                                    .bias = fp8 || mxfp4 ? NULL : b->big,
                                    .number = fp8 ? MOE_FORMAT_F32 : MOE_FORMAT_BF16,
                                    .columns = fp8     ? 128
                                               : mxfp4 ? 32
                                                       : 64,
                                    .rows = fp8 ? 128 : 1};
    const size_t groups = (w->cols + w->scales.columns - 1) / w->scales.columns;
    w->scales.row_bytes = groups * (fp8 ? 4 : mxfp4 ? 1 : 2);
}

/* What a packed matrix keeps apart: escapes at equal distances. */
static void add_escapes(const struct bench *b, struct moe_matrix *w) {
    static const unsigned char table[] = {0x3c, 0xbc, 0x3b, 0xbb, 0x3d, 0xbd, 0x3a, 0xba,
                                          0x39, 0xb9, 0x38, 0xb8, 0x37, 0xb7, 0x36, 0xb6};
    const size_t n_blocks = moe_packed_blocks(w->cols);
    size_t at = 0, n = 0; /* the next escape, counted over all blocks; escapes so far */
    for (size_t r = 0; r < w->rows; r++) {
        b->first[r] = (uint32_t)n;
        for (; at < (r + 1) * n_blocks; at += ESCAPE_EVERY) b->block[n++] = (uint32_t)(at - r * n_blocks);
    }
    b->first[w->rows] = (uint32_t)n;
    w->escapes = (struct moe_escapes){table, b->first, b->block, b->big};
}

static struct moe_matrix matrix(const struct bench *b, enum moe_format f, size_t rows, size_t k) {
    const size_t row_bytes = moe_format_row_bytes(f, k), most = b->big_bytes / row_bytes;
    struct moe_matrix w = {
        .format = f, .rows = rows < most ? rows : most, .cols = k, .row_bytes = row_bytes, .data = b->big};
    if (moe_format_is_quantised(f)) add_scales(b, &w);
    if (moe_format_is_packed(f)) add_escapes(b, &w);
    return w;
}

static void bench_product(struct bench *b, enum moe_format f, size_t rows, size_t n_cols, size_t w_rows,
                          size_t k, const char *from) {
    const struct moe_matrix w = matrix(b, f, w_rows, k);
    const enum moe_layout layout = moe_format_layout(f);
    const size_t ld = moe_layout_floats(layout, k);
    float *plain = random_floats(k), *x = random_floats(rows * ld), *y = take(rows * n_cols * sizeof *y);
    for (size_t r = 0; r < rows; r++) b->k.layout[layout].pack(x + r * ld, plain, k);
    struct product p = {.format = f, .x = {x, ld, rows, NULL}, .w = w, .y = y, .n_cols = n_cols};
    char what[64];
    snprintf(what, sizeof what, "%zux%zux%zu %s", rows, n_cols, k, from);
    report(b, &(struct result){.op = "gemm",
                               .format = moe_format_name(f),
                               .what = what,
                               .seconds = measure(b, run_gemm, &p),
                               .bytes = (double)moe_matrix_bytes(&w) * (double)n_cols / (double)w.rows,
                               .flops = 2.0 * (double)(rows * n_cols * k),
                               .working_set = (double)(moe_matrix_bytes(&w) + 4 * rows * (ld + n_cols)),
                               .precision =
                                   layout == MOE_LAYOUT_PAIRS ? MOE_PRECISION_BF16 : MOE_PRECISION_FP32});
    free(plain);
    free(x);
    free(y);
}

void bench_gemm(struct bench *b, enum moe_format f) {
    static const size_t usual[] = {1, 2, 4, 8, 16, 64};
    const size_t k = moe_padded(b->set->k ? b->set->k : WIDTH), cols = b->set->cols ? b->set->cols : 96;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (b->set->rows && i > 0) break;
        const size_t rows = b->set->rows ? b->set->rows : usual[i];
        bench_product(b, f, rows, cols, SIZE_MAX / k / 4, k, "memory");
        bench_product(b, f, rows, cols, cols, k, "cache");
    }
}

static void run_widen(struct bench *b, void *args, size_t times) {
    struct product *p = args;
    for (size_t i = 0; i < times; i++) b->k.format[p->format].widen(p->y, &p->w, i % p->w.rows);
}

void bench_widen(struct bench *b, enum moe_format f) {
    struct product p = {.format = f, .w = matrix(b, f, 16, WIDTH), .y = random_floats(WIDTH)};
    report(b, &(struct result){.op = "widen",
                               .format = moe_format_name(f),
                               .what = "n 2048",
                               .seconds = measure(b, run_widen, &p),
                               .bytes = (double)moe_matrix_bytes(&p.w) / (double)p.w.rows + 4 * WIDTH,
                               .working_set = (double)moe_matrix_bytes(&p.w) + 4 * WIDTH});
    free(p.y);
}

struct packing {
    enum moe_layout layout;
    float *x, *y;
};

static void run_pack(struct bench *b, void *args, size_t times) {
    struct packing *p = args;
    for (size_t i = 0; i < times; i++) b->k.layout[p->layout].pack(p->y, p->x, WIDTH);
}

void bench_pack(struct bench *b, enum moe_layout layout) {
    static const char *const names[MOE_LAYOUT_COUNT] = {"natural", "even_odd", "quads", "pairs"};
    struct packing p = {layout, random_floats(WIDTH), random_floats(WIDTH)};
    report(b, &(struct result){.op = "pack",
                               .format = names[layout],
                               .what = "n 2048",
                               .seconds = measure(b, run_pack, &p),
                               .bytes = 4.0 * (double)(WIDTH + moe_layout_floats(layout, WIDTH))});
    free(p.x);
    free(p.y);
}
