/* Every operation of the .def files on every instruction set that this CPU has, and the grouped expert GEMM
 * natively and by OpenBLAS. One thread. Each number is the median of samples taken in turn (one of each
 * candidate, then the next round), so that a disturbance of the machine meets all alike; --clock cpu counts
 * the thread's own time, for machines shared with other work. An operation without its bench_<op> does not
 * link. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/openblas.h"
#include "kernels/select.h"

enum {
    MAX_SAMPLES = 99,
    BIG_BYTES = 256 << 20, /* beyond any last-level cache of a machine with few cores */
    GROUP_EXPERTS = 32
};

struct settings {
    size_t rows, cols, k; /* of the GEMM cases; 0: the usual ones */
    size_t samples;
    double seconds; /* that one sample takes at least */
    clockid_t clock;
    const char *op, *isa;
    bool gemm;
};

struct bench {
    const struct settings *set;
    const char *isa;
    struct moe_kernels k;
    double peak, bandwidth; /* FLOP/s of this instruction set's FMAs; byte/s of reading memory */
    unsigned char *big;     /* [BIG_BYTES]: small random numbers in any format */
    unsigned char *powers;  /* [BIG_BYTES / 16]: scales of MXFP4, moderate too */
    volatile float sink;
};

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *take(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "kernel_bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(p, 0, bytes);
    return p;
}

static float *random_floats(size_t n) {
    float *x = take(n * sizeof *x);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return x;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n) {
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

typedef void run_fn(struct bench *b, void *args, size_t times);

/* Seconds per run. */
static double measure(struct bench *b, run_fn *run, void *args) {
    double sample[MAX_SAMPLES];
    size_t times = 1;
    for (;; times *= 2) {
        const double start = now(b->set->clock);
        run(b, args, times);
        if (now(b->set->clock) - start >= b->set->seconds || times > SIZE_MAX / 4) break;
    }
    for (size_t i = 0; i < b->set->samples; i++) {
        const double start = now(b->set->clock);
        run(b, args, times);
        sample[i] = (now(b->set->clock) - start) / (double)times;
    }
    return median(sample, b->set->samples);
}

/* One line of the table: what a run reads and writes, and the operations it does (a fused multiply-add is
 * two). */
static void report(struct bench *b, const char *op, const char *what, double seconds, double bytes,
                   double flops) {
    printf("%-22s %-8s %-26s %10.3f us %8.2f GB/s %5.1f %%", op, b->isa, what, seconds * 1e6,
           bytes / seconds * 1e-9, 100 * bytes / seconds / b->bandwidth);
    if (flops > 0) printf(" %9.2f GFLOP/s %5.1f %%", flops / seconds * 1e-9, 100 * flops / seconds / b->peak);
    printf("\n");
    fflush(stdout);
}

static bool wanted(const struct bench *b, const char *op) {
    return !b->set->op || strcmp(b->set->op, op) == 0;
}

/* ---- operations on vectors ---------------------------------------------------------------------------- */

enum { WIDTH = 2048, FFN = 768, HEAD = 128, PAIRS = HEAD / 2, EXPERTS = 128 };

struct vectors {
    float *x, *y, *z;
};

static struct vectors vectors(void) {
    return (struct vectors){random_floats(4 * WIDTH), random_floats(4 * WIDTH), random_floats(4 * WIDTH)};
}

static void free_vectors(struct vectors *v) {
    free(v->x);
    free(v->y);
    free(v->z);
}

/* Defines bench_<op>: `call` on vectors v, elements n, bytes moved and operations done per element. */
#define BENCH_VECTOR(op, n, bytes, flops, call)                                                              \
    static void run_##op(struct bench *b, void *args, size_t times) {                                        \
        struct vectors *v = args;                                                                            \
        for (size_t i = 0; i < times; i++) b->k.call;                                                        \
    }                                                                                                        \
    static void bench_##op(struct bench *b) {                                                                \
        struct vectors v = vectors();                                                                        \
        char what[32];                                                                                       \
        snprintf(what, sizeof what, "n %d", (int)(n));                                                       \
        report(b, #op, what, measure(b, run_##op, &v), (bytes) * (double)(n), (flops) * (double)(n));        \
        free_vectors(&v);                                                                                    \
    }

BENCH_VECTOR(rmsnorm, WIDTH, 12, 4, rmsnorm(v->y, v->x, v->z, WIDTH, 1e-6f))
BENCH_VECTOR(layernorm, WIDTH, 16, 8, layernorm(v->y, v->x, v->z, v->y + WIDTH, WIDTH, 1e-5f))
BENCH_VECTOR(rope_angles, PAIRS, 12, 0, rope_angles(v->y, v->z, v->x, PAIRS, 12345, 1))
BENCH_VECTOR(rope_half, PAIRS, 24, 6, rope_half(v->x, v->y, v->z, PAIRS))
BENCH_VECTOR(rope_interleaved, PAIRS, 24, 6, rope_interleaved(v->x, v->y, v->z, PAIRS))
BENCH_VECTOR(clamp, WIDTH, 8, 2, clamp(v->x, WIDTH, 8))
BENCH_VECTOR(add, WIDTH, 12, 1, add(v->y, v->x, WIDTH))
BENCH_VECTOR(scale, WIDTH, 8, 1, scale(v->y, v->x, WIDTH, 0.5f))
BENCH_VECTOR(axpy, WIDTH, 12, 2, axpy(v->y, v->x, WIDTH, 1e-6f))
BENCH_VECTOR(swiglu, FFN, 12, 24, swiglu(v->y, v->x, v->z, FFN))
BENCH_VECTOR(swiglu_clamped, FFN, 12, 29, swiglu_clamped(v->y, v->x, v->z, FFN, 1.702f, 7))
BENCH_VECTOR(sigmoid, FFN, 8, 23, sigmoid(v->y, v->x, FFN))
BENCH_VECTOR(softmax, EXPERTS, 8, 23, softmax(v->y, v->x, EXPERTS))

static void run_router(struct bench *b, void *args, size_t times) {
    struct vectors *v = args;
    uint32_t ids[8];
    float weights[8];
    for (size_t i = 0; i < times; i++) b->k.router_softmax_topk(ids, weights, v->x, v->y, EXPERTS, 8, true);
}

static void bench_router_softmax_topk(struct bench *b) {
    struct vectors v = vectors();
    report(b, "router_softmax_topk", "n 128, top 8", measure(b, run_router, &v), 4 * EXPERTS, 0);
    free_vectors(&v);
}

static void run_attention(struct bench *b, void *args, size_t times) {
    for (size_t i = 0; i < times; i++) b->k.attention_block(args);
}

static void bench_attention_block(struct bench *b) {
    enum { MOST = 64, LATENT = 512, LD_LATENT = 576 };
    static const struct {
        size_t n_q, key_dim, value_dim, ld_values; /* key_dim 0: the dots are given */
    } cases[] = {{1, HEAD, HEAD, HEAD},
                 {4, HEAD, HEAD, HEAD},
                 {8, HEAD, HEAD, HEAD},
                 {64, HEAD, HEAD, HEAD},
                 {16, 0, LATENT, LD_LATENT}};
    uint8_t first[MOST] = {0}, last[MOST];
    memset(last, MOE_KEY_BLOCK, sizeof last);
    float *q = random_floats(MOST * HEAD), *keys = random_floats(HEAD * MOE_KEY_BLOCK),
          *values = random_floats(LD_LATENT * MOE_KEY_BLOCK), *out = random_floats(MOST * LATENT),
          *scores = random_floats(MOST * MOE_KEY_BLOCK), max[MOST] = {0}, sum[MOST] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = cases[i].n_q, dims = cases[i].key_dim + cases[i].value_dim;
        struct moe_attention_block a = {.q = q,
                                        .n_q = n,
                                        .keys = cases[i].key_dim ? keys : NULL,
                                        .values = values,
                                        .key_dim = cases[i].key_dim,
                                        .value_dim = cases[i].value_dim,
                                        .ld_values = cases[i].ld_values,
                                        .scale = 0.09f,
                                        .first = first,
                                        .last = last,
                                        .max = max,
                                        .sum = sum,
                                        .out = out,
                                        .scores = scores};
        char what[32];
        snprintf(what, sizeof what, "%zu queries, %zu + %zu", n, cases[i].key_dim, cases[i].value_dim);
        report(b, "attention_block", what, measure(b, run_attention, &a),
               4.0 * (double)(dims * MOE_KEY_BLOCK), 2.0 * (double)(n * dims * MOE_KEY_BLOCK));
    }
    free(q);
    free(keys);
    free(values);
    free(out);
    free(scores);
}

static void run_probe_read(struct bench *b, void *args, size_t times) {
    (void)args;
    for (size_t i = 0; i < times; i++) b->sink = b->k.probe_read(b->big, BIG_BYTES);
}

static void bench_probe_read(struct bench *b) {
    report(b, "probe_read", "256 MiB", measure(b, run_probe_read, NULL), BIG_BYTES, 0);
}

static void run_probe_fma(struct bench *b, void *args, size_t times) {
    (void)args;
    for (size_t i = 0; i < times; i++) b->sink = b->k.probe_fma(1000);
}

static void bench_probe_fma(struct bench *b) {
    report(b, "probe_fma", "1000 rounds", measure(b, run_probe_fma, NULL), 0, 1000.0 * MOE_PROBE_FLOPS);
}

/* ---- operations of a format or a layout ---------------------------------------------------------------- */

struct product {
    enum moe_format format;
    struct moe_rows x;
    struct moe_matrix w;
    float *y;
    size_t n_cols; /* per call; calls walk over the rows of w */
};

static void run_gemm(struct bench *b, void *args, size_t times) {
    struct product *p = args;
    size_t first = 0;
    for (size_t i = 0; i < times; i++) {
        float *y = (float *)((uintptr_t)p->y - first * sizeof *y); /* all into the same columns */
        b->k.format[p->format].gemm(y, p->n_cols, &p->x, &p->w, first, p->n_cols);
        first = first + 2 * p->n_cols <= p->w.rows ? first + p->n_cols : 0;
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

static struct moe_matrix matrix(const struct bench *b, enum moe_format f, size_t rows, size_t k) {
    const size_t row_bytes = k * moe_format_bits(f) / 8, most = BIG_BYTES / row_bytes;
    struct moe_matrix w = {
        .format = f, .rows = rows < most ? rows : most, .cols = k, .row_bytes = row_bytes, .data = b->big};
    if (moe_format_is_quantised(f)) add_scales(b, &w);
    return w;
}

static void bench_product(struct bench *b, enum moe_format f, size_t rows, size_t n_cols, size_t w_rows,
                          size_t k, const char *from) {
    const struct moe_matrix w = matrix(b, f, w_rows, k);
    const size_t ld = moe_layout_padded(moe_format_layout(f), k);
    float *x = random_floats(rows * ld), *y = take(rows * n_cols * sizeof *y);
    struct product p = {f, {x, ld, rows, NULL}, w, y, n_cols};
    char op[32], what[64];
    snprintf(op, sizeof op, "gemm %s", moe_format_name(f));
    snprintf(what, sizeof what, "%zux%zux%zu %s", rows, n_cols, k, from);
    report(b, op, what, measure(b, run_gemm, &p),
           (double)moe_matrix_bytes(&w) * (double)n_cols / (double)w.rows, 2.0 * (double)(rows * n_cols * k));
    free(x);
    free(y);
}

static void bench_gemm(struct bench *b, enum moe_format f) {
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

static void bench_widen(struct bench *b, enum moe_format f) {
    struct product p = {.format = f, .w = matrix(b, f, 16, WIDTH), .y = random_floats(WIDTH)};
    char op[32];
    snprintf(op, sizeof op, "widen %s", moe_format_name(f));
    report(b, op, "n 2048", measure(b, run_widen, &p),
           (double)moe_matrix_bytes(&p.w) / (double)p.w.rows + 4 * WIDTH, 0);
    free(p.y);
}

struct packing {
    enum moe_layout layout;
    struct vectors v;
};

static void run_pack(struct bench *b, void *args, size_t times) {
    struct packing *p = args;
    for (size_t i = 0; i < times; i++) b->k.layout[p->layout].pack(p->v.y, p->v.x, WIDTH);
}

static void bench_pack(struct bench *b, enum moe_layout layout) {
    struct packing p = {layout, vectors()};
    static const char *const names[MOE_LAYOUT_COUNT] = {"pack natural", "pack even_odd", "pack quads"};
    report(b, names[layout], "n 2048", measure(b, run_pack, &p), 8 * WIDTH, 0);
    free_vectors(&p.v);
}

static void bench_isa(struct bench *b) {
#define MOE_OP(op)                                                                                           \
    if (wanted(b, #op)) bench_##op(b);
#include "kernels/ops.def"
#undef MOE_OP
    for (int f = 0; f < MOE_FORMAT_COUNT; f++) {
#define MOE_FORMAT_OP(op)                                                                                    \
    if (wanted(b, #op)) bench_##op(b, (enum moe_format)f);
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
    }
    for (int l = 0; l < MOE_LAYOUT_COUNT; l++) {
#define MOE_LAYOUT_OP(op)                                                                                    \
    if (wanted(b, #op)) bench_##op(b, (enum moe_layout)l);
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
    }
}

/* ---- the grouped expert GEMM: native against OpenBLAS -------------------------------------------------- */

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

typedef void openblas_fn(const struct moe_openblas_problem *problems, size_t n_problems, size_t n_cols,
                         size_t k);

static void group_openblas(struct group *g, openblas_fn *gemm) {
    struct moe_openblas_problem p[GROUP_EXPERTS];
    for (size_t e = 0; e < GROUP_EXPERTS; e++)
        p[e] = (struct moe_openblas_problem){.y = g->y + e * g->rows * g->cols,
                                             .x = g->x + e * g->rows * g->k,
                                             .w = g->wide[e],
                                             .n = g->rows,
                                             .ld_y = g->cols,
                                             .ld_x = g->k,
                                             .ld_w = g->k};
    gemm(p, GROUP_EXPERTS, g->cols, g->k);
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
    if (c == BATCH || c == BATCH_WIDENING) group_openblas(g, moe_openblas_gemm);
    if (c == LOOP) group_openblas(g, moe_openblas_gemm_loop);
}

static void bench_group(struct bench *b, struct group *g) {
    double sample[CANDIDATES][MAX_SAMPLES];
    const int last = moe_openblas_available() ? CANDIDATES : NATIVE + 1;
    for (size_t i = 0; i < b->set->samples; i++)
        for (int c = 0; c < last; c++) {
            const double start = now(b->set->clock);
            run_candidate(b, g, (enum candidate)c);
            sample[c][i] = now(b->set->clock) - start;
        }
    const double flops = 2.0 * (double)(g->rows * g->cols * g->k * GROUP_EXPERTS);
    printf("| %4zu |", g->rows);
    for (int c = 0; c < last; c++) {
        const double seconds = median(sample[c], b->set->samples);
        printf(" %8.2f ms %7.1f GFLOP/s %5.1f %% |", seconds * 1e3, flops / seconds * 1e-9,
               100 * flops / seconds / b->peak);
    }
    printf("\n");
    fflush(stdout);
}

static void bench_groups(struct bench *b) {
    static const size_t rows[] = {1, 2, 4, 8, 16, 32, 64, 128};
    struct group g = {.cols = b->set->cols ? b->set->cols : 1024, .k = b->set->k ? b->set->k : WIDTH};
    g.k = moe_padded(g.k);
    if (GROUP_EXPERTS * g.cols * g.k * 2 > BIG_BYTES) {
        fprintf(stderr, "kernel_bench: %d experts of %zu x %zu do not fit\n", GROUP_EXPERTS, g.cols, g.k);
        exit(2);
    }
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
    printf("\n%d experts, %zu x %zu, bf16, %s; peak of its FMAs %.1f GFLOP/s, memory %.1f GB/s\n",
           GROUP_EXPERTS, g.cols, g.k, b->isa, b->peak * 1e-9, b->bandwidth * 1e-9);
    printf("| rows | native | %s, weights fp32 already | with widening each time | loop, weights fp32 "
           "already |\n",
           moe_openblas_name());
    printf("|---|---|---|---|---|\n");
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

/* ---- the program --------------------------------------------------------------------------------------- */

static void usage(FILE *to) {
    fputs("usage: kernel_bench [--op NAME] [--isa NAME] [--gemm] [--rows M] [--cols N] [--k K]\n"
          "                    [--samples N] [--ms MILLISECONDS] [--clock wall|cpu]\n"
          "  --op, --isa       only this operation, this instruction set\n"
          "  --gemm            the grouped expert GEMM, native against OpenBLAS\n"
          "  --rows --cols --k shape of the GEMMs\n"
          "  --samples         numbers shown are medians of this many (7)\n"
          "  --ms              how long one sample lasts at least (5)\n"
          "  --clock           cpu: the thread's own time, on a machine shared with other work (wall)\n",
          to);
}

static size_t number(const char *text) {
    char *end;
    const unsigned long n = strtoul(text, &end, 10);
    if (*end || n == 0 || n > 1 << 24) {
        fprintf(stderr, "kernel_bench: \"%s\": expected a number from 1 to %d\n", text, 1 << 24);
        exit(2);
    }
    return n;
}

static struct settings parse(int argc, char **argv) {
    static const struct option options[] = {
        {"op", 1, NULL, 'o'},    {"isa", 1, NULL, 'i'},  {"gemm", 0, NULL, 'g'},    {"rows", 1, NULL, 'm'},
        {"cols", 1, NULL, 'n'},  {"k", 1, NULL, 'k'},    {"samples", 1, NULL, 's'}, {"ms", 1, NULL, 't'},
        {"clock", 1, NULL, 'c'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    struct settings s = {.samples = 7, .seconds = 5e-3, .clock = CLOCK_MONOTONIC};
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) switch (o) {
        case 'o':
            s.op = optarg;
            break;
        case 'i':
            s.isa = optarg;
            break;
        case 'g':
            s.gemm = true;
            break;
        case 'm':
            s.rows = number(optarg);
            break;
        case 'n':
            s.cols = number(optarg);
            break;
        case 'k':
            s.k = number(optarg);
            break;
        case 's':
            s.samples = number(optarg) > MAX_SAMPLES ? MAX_SAMPLES : number(optarg);
            break;
        case 't':
            s.seconds = 1e-3 * (double)number(optarg);
            break;
        case 'c':
            s.clock = strcmp(optarg, "cpu") == 0 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    return s;
}

int main(int argc, char **argv) {
    const struct settings set = parse(argc, argv);
    struct bench b = {.set = &set, .big = take(BIG_BYTES), .powers = take(BIG_BYTES / 16)};
    /* 0x3c10 to 0x3cfe: numbers of moderate size in every format, normal ones and no NaN in e4m3 */
    for (size_t i = 0; i < BIG_BYTES; i += 2) {
        b.big[i] = ((i * 2654435761U >> 13) & 0xee) | 0x10;
        b.big[i + 1] = 0x3c;
    }
    for (size_t i = 0; i < BIG_BYTES / 16; i++) b.powers[i] = 112 + i % 16;
    if (moe_openblas_available()) moe_openblas_start();
    for (int i = 0; i < MOE_ISA_COUNT; i++) {
        b.isa = moe_isa_get_name((enum moe_isa)i);
        enum moe_isa fastest;
        moe_isa_select(&fastest, NULL, NULL);
        if (set.isa ? strcmp(set.isa, b.isa) != 0 : set.gemm && i != (int)fastest) continue;
        if (!moe_isa_runs_here((enum moe_isa)i)) {
            printf("%s: skipped, this CPU does not have it\n", b.isa);
            continue;
        }
        moe_kernels_select(&b.k, (enum moe_isa)i);
        b.peak = 1000.0 * MOE_PROBE_FLOPS / measure(&b, run_probe_fma, NULL);
        b.bandwidth = BIG_BYTES / measure(&b, run_probe_read, NULL);
        if (set.gemm)
            bench_groups(&b);
        else
            bench_isa(&b);
    }
    free(b.big);
    free(b.powers);
    return 0;
}
