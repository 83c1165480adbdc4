/* The grouped expert GEMM: native against OpenBLAS. Samples are taken in turn, one of each candidate, then
 * the next round, so that a disturbance of the machine meets all alike. */
#include <stdlib.h>

#include "bench/kernel_bench.h"
#include "cli/common.h"

enum { GROUP_EXPERTS = 32 };

/* GROUP_EXPERTS experts, `rows` rows each, one matrix [cols, k] each: a layer's gate or up projection. */
struct group {
    size_t rows, cols, k;
    struct moe_matrix w[GROUP_EXPERTS]; /* bf16, as in the checkpoint */
    float *x, *packed, *y;
    float *wide[GROUP_EXPERTS]; /* fp32 copies of w */
};

static void group_native(struct bench *b, struct group *g) {
    for (size_t e = 0; e < GROUP_EXPERTS; e++) {
        const struct moe_rows x = {g->packed + e * g->rows * g->k, g->k, g->rows, NULL};
        for (size_t c = 0; c < g->cols; c += 96)
            b->k.format[MOE_FORMAT_BF16].gemm(g->y + e * g->rows * g->cols, g->cols, &x, &g->w[e], c,
                                              g->cols - c < 96 ? g->cols - c : 96);
    }
}

typedef void openblas_fn(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                         size_t n_problems, size_t n_cols, size_t k);

static void group_openblas(const struct bench *b, struct group *g, openblas_fn *gemm) {
    struct moe_openblas_problem p[GROUP_EXPERTS];
    for (size_t e = 0; e < GROUP_EXPERTS; e++)
        p[e] = (struct moe_openblas_problem){.y = g->y + e * g->rows * g->cols,
                                             .x = g->x + e * g->rows * g->k,
                                             .w = g->wide[e],
                                             .n = g->rows,
                                             .ld_y = g->cols,
                                             .ld_x = g->k,
                                             .ld_w = g->k};
    gemm(&b->openblas, p, GROUP_EXPERTS, g->cols, g->k);
}

static void widen_all(struct bench *b, struct group *g) {
    for (size_t e = 0; e < GROUP_EXPERTS; e++)
        for (size_t c = 0; c < g->cols; c++)
            b->k.format[MOE_FORMAT_BF16].widen(g->wide[e] + c * g->k, &g->w[e], c);
}

enum candidate { NATIVE, BATCH, BATCH_WIDENING, LOOP, CANDIDATES };

static void run_candidate(struct bench *b, struct group *g, enum candidate c) {
    if (c == NATIVE) group_native(b, g);
    if (c == BATCH_WIDENING) widen_all(b, g);
    if (c == BATCH || c == BATCH_WIDENING) group_openblas(b, g, moe_openblas_gemm);
    if (c == LOOP) group_openblas(b, g, moe_openblas_gemm_loop);
}

static void report_group(struct bench *b, const struct group *g, double (*sample)[MAX_SAMPLES], int last) {
    static const char *const names[CANDIDATES] = {"native", "openblas batch", "openblas batch, widening",
                                                  "openblas loop"};
    const double flops = 2.0 * (double)(g->rows * g->cols * g->k * GROUP_EXPERTS);
    if (!b->set->json) output_format(&b->out, "| %4zu |", g->rows);
    for (int c = 0; c < last; c++) {
        const double seconds = median(sample[c], b->set->n_samples), rate = flops / seconds;
        if (b->set->json) {
            json_open(&b->j, NULL, '{');
            json_string(&b->j, "op", "grouped gemm");
            json_string(&b->j, "isa", b->isa);
            json_string(&b->j, "candidate", names[c]);
            json_integer(&b->j, "experts", GROUP_EXPERTS);
            json_integer(&b->j, "rows", g->rows);
            json_integer(&b->j, "cols", g->cols);
            json_integer(&b->j, "k", g->k);
            json_real(&b->j, "us", seconds * 1e6);
            json_real(&b->j, "gflops", rate * 1e-9);
            json_real(&b->j, "peak_gflops", b->flops[MOE_PRECISION_FP32] * 1e-9);
            json_real(&b->j, "peak_pct", 100 * rate / b->flops[MOE_PRECISION_FP32]);
            json_close(&b->j, '}');
        } else {
            output_format(&b->out, " %8.2f ms %7.1f GFLOP/s %5.1f %% |", seconds * 1e3, rate * 1e-9,
                          100 * rate / b->flops[MOE_PRECISION_FP32]);
        }
    }
    if (!b->set->json) output_format(&b->out, "\n");
    output_flush(&b->out);
}

static void bench_group(struct bench *b, struct group *g) {
    double sample[CANDIDATES][MAX_SAMPLES];
    const int last = moe_openblas_available() ? CANDIDATES : NATIVE + 1;
    for (size_t i = 0; i < b->set->n_samples; i++)
        for (int c = 0; c < last; c++) {
            const double start = clock_now(b);
            run_candidate(b, g, (enum candidate)c);
            sample[c][i] = clock_now(b) - start;
        }
    report_group(b, g, sample, last);
}

static void print_head(struct bench *b, const struct group *g) {
    output_format(&b->out,
                  "\n%d experts, %zu x %zu, bf16, %s; peak of its FMAs %.1f GFLOP/s, memory %.1f GB/s\n",
                  GROUP_EXPERTS, g->cols, g->k, b->isa, b->flops[MOE_PRECISION_FP32] * 1e-9,
                  b->bandwidth[LEVEL_MEMORY] * 1e-9);
    output_format(&b->out,
                  "| rows | native | %s, weights fp32 already | with widening each time | loop, weights fp32 "
                  "already |\n|---|---|---|---|---|\n",
                  moe_openblas_name());
}

void bench_groups(struct bench *b) {
    static const size_t rows[] = {1, 2, 4, 8, 16, 32, 64, 128};
    struct group g = {.cols = b->set->cols ? b->set->cols : 1024, .k = b->set->k ? b->set->k : WIDTH};
    g.k = moe_padded(g.k);
    if (GROUP_EXPERTS * g.cols * g.k * 2 > b->big_bytes)
        die(STATUS_USAGE, "%d experts of %zu x %zu do not fit", GROUP_EXPERTS, g.cols, g.k);
    for (size_t e = 0; e < GROUP_EXPERTS; e++) {
        g.w[e] = (struct moe_matrix){.format = MOE_FORMAT_BF16,
                                     .rows = g.cols,
                                     .cols = g.k,
                                     .row_bytes = 2 * g.k,
                                     .data = b->big + e * g.cols * g.k * 2};
        g.wide[e] = take(g.cols * g.k * sizeof(float));
    }
    widen_all(b, &g);
    g.x = random_floats(GROUP_EXPERTS * 128 * g.k);
    g.packed = random_floats(GROUP_EXPERTS * 128 * g.k);
    g.y = random_floats(GROUP_EXPERTS * 128 * g.cols);
    if (!b->set->json) print_head(b, &g);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (b->set->rows && i > 0) break;
        g.rows = b->set->rows ? b->set->rows : rows[i];
        if (g.rows > 128) g.rows = 128;
        bench_group(b, &g);
    }
    for (size_t e = 0; e < GROUP_EXPERTS; e++) free(g.wide[e]);
    free(g.x);
    free(g.packed);
    free(g.y);
}
