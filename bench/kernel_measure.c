/* Limits, samples, lines of the report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/packed.h"
#include "bench/kernel_bench.h"
#include "cli/common.h"

static const char *const level_names[LEVELS] = {"L1", "L2", "L3", "memory"};

void *take(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) die(STATUS_FAILED, "no memory for %zu bytes", bytes);
    memset(p, 0, bytes);
    return p;
}

float *random_floats(size_t n) {
    float *x = take(n * sizeof *x);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return x;
}

/* ---- time --------------------------------------------------------------------------------------------- */

double clock_now(const struct bench *b) {
    struct timespec t;
    clock_gettime(b->set->clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *x, size_t n) {
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

double measure(struct bench *b, run_fn *run, void *args) {
    double sample[MAX_SAMPLES];
    size_t times = 1;
    for (;; times *= 2) {
        const double start = clock_now(b);
        run(b, args, times);
        if (clock_now(b) - start >= b->set->seconds || times > SIZE_MAX / 4) break;
    }
    for (size_t i = 0; i < b->set->n_samples; i++) {
        const double start = clock_now(b);
        run(b, args, times);
        sample[i] = (clock_now(b) - start) / (double)times;
    }
    return median(sample, b->set->n_samples);
}

/* ---- limits ------------------------------------------------------------------------------------------- */

struct reading {
    const unsigned char *data;
    size_t bytes;
};

static void run_reading(struct bench *b, void *args, size_t times) {
    const struct reading *r = args;
    for (size_t i = 0; i < times; i++) b->sink = b->k.probe_read(r->data, r->bytes);
}

/* From the difference of two sizes, so that what a call costs beside reading does not count: in L1 that is a
 * quarter of the time. Half of the cache at most, for pages may collide; the best of a few, as of any limit.
 */
static double cache_bandwidth(struct bench *b, size_t bytes) {
    struct reading less = {b->big, bytes / 8}, more = {b->big, bytes / 2};
    double best = 0;
    for (int i = 0; i < 3; i++) {
        const double seconds = measure(b, run_reading, &more) - measure(b, run_reading, &less);
        if (seconds > 0 && (double)(more.bytes - less.bytes) / seconds > best)
            best = (double)(more.bytes - less.bytes) / seconds;
    }
    return best;
}

static size_t cache_size(int name, size_t usual) {
    const long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : usual;
}

void bench_select(struct bench *b, enum moe_isa isa) {
    enum { L3_SAMPLE = 64 << 20 }; /* enough to be past L2 */
    moe_error err = {{0}};
    b->isa = moe_isa_get_name(isa);
    moe_kernels_select(&b->k, isa);
    for (int p = MOE_PRECISION_BF16; p >= MOE_PRECISION_FP32; p--)
        if (moe_machine_limits(&b->bandwidth[LEVEL_MEMORY], &b->flops[p], 1, b->isa, (moe_precision)p,
                               &err) != MOE_OK)
            die(STATUS_FAILED, "%s", err.message);
    for (int level = LEVEL_L1; level < LEVEL_MEMORY; level++) {
        const size_t bytes = b->level_bytes[level];
        b->bandwidth[level] = cache_bandwidth(b, bytes < L3_SAMPLE ? bytes : L3_SAMPLE);
        if (b->bandwidth[level] < b->bandwidth[LEVEL_MEMORY])
            b->bandwidth[level] = b->bandwidth[LEVEL_MEMORY];
    }
}

/* ---- the report --------------------------------------------------------------------------------------- */

static enum level level_of(const struct bench *b, double working_set) {
    int level = LEVEL_L1;
    while (level < LEVEL_MEMORY && working_set > (double)b->level_bytes[level]) level++;
    return (enum level)level;
}

static void print_json(struct bench *b, const struct result *r, enum level level, double read_pct,
                       double flops_pct) {
    struct json *j = &b->j;
    json_open(j, NULL, '{');
    json_string(j, "op", r->op);
    if (r->format) json_string(j, "format", r->format);
    json_string(j, "isa", b->isa);
    json_string(j, "case", r->what);
    json_real(j, "us", r->seconds * 1e6);
    json_real(j, "gbs", r->bytes / r->seconds * 1e-9);
    json_string(j, "level", level_names[level]);
    json_real(j, "level_gbs", b->bandwidth[level] * 1e-9);
    json_real(j, "bandwidth_pct", read_pct);
    json_real(j, "gflops", r->flops / r->seconds * 1e-9);
    json_real(j, "peak_gflops", b->flops[r->precision] * 1e-9);
    json_real(j, "peak_pct", flops_pct);
    json_string(j, "binds", read_pct > flops_pct ? level_names[level] : "FMA");
    json_close(j, '}');
}

static void print_line(struct bench *b, const struct result *r, enum level level, double read_pct,
                       double flops_pct) {
    char op[64];
    snprintf(op, sizeof op, "%s%s%s", r->op, r->format ? " " : "", r->format ? r->format : "");
    output_format(&b->out, "%-22s %-8s %-26s %10.3f us %8.2f GB/s %5.1f %% of %-6s", op, b->isa, r->what,
                  r->seconds * 1e6, r->bytes / r->seconds * 1e-9, read_pct, level_names[level]);
    if (r->flops > 0)
        output_format(&b->out, " %9.2f GFLOP/s %5.1f %%%s", r->flops / r->seconds * 1e-9, flops_pct,
                      flops_pct > read_pct ? " <" : "");
    output_format(&b->out, "\n");
}

void report(struct bench *b, const struct result *r) {
    const enum level level = level_of(b, r->working_set > 0 ? r->working_set : r->bytes);
    const double read_pct = 100 * r->bytes / r->seconds / b->bandwidth[level];
    const double flops_pct = 100 * r->flops / r->seconds / b->flops[r->precision];
    if (b->set->json) print_json(b, r, level, read_pct, flops_pct);
    if (!b->set->json) print_line(b, r, level, read_pct, flops_pct);
    output_flush(&b->out);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* Twice the caches, as engine/limits.c: a matrix that is walked over must come from memory each time. */
static size_t big_bytes(void) {
    enum { LEAST = 256 << 20, MOST = 1 << 30 };
    const size_t wanted = 2 * moe_cache_bytes();
    return wanted < LEAST ? LEAST : wanted > MOST ? MOST : wanted;
}

/* Small pages are what a mapped checkpoint has, huge ones what packed weights have. */
static unsigned char *take_pages(size_t bytes, bool huge) {
    enum { HUGE_PAGE = 2 << 20 };
    unsigned char *map =
        mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) die(STATUS_FAILED, "no memory for %zu bytes", bytes);
    unsigned char *p = map + (-(uintptr_t)map & (HUGE_PAGE - 1));
    madvise(p, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return p; /* as long as the process */
}

void bench_open(struct bench *b) {
    b->level_bytes[LEVEL_L1] = cache_size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    b->level_bytes[LEVEL_L2] = cache_size(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
    b->level_bytes[LEVEL_L3] = moe_cache_bytes();
    b->level_bytes[LEVEL_MEMORY] = SIZE_MAX;
    b->big_bytes = big_bytes();
    b->big = take_pages(b->big_bytes, b->set->huge_pages);
    b->powers = take(b->big_bytes / 16);
    const size_t n_blocks = b->big_bytes / MOE_PACKED_BYTES;
    b->first = take((n_blocks + 1) * sizeof *b->first);
    b->block = take((n_blocks / ESCAPE_EVERY + 1) * sizeof *b->block);
    /* 0x3c10 to 0x3cfe: numbers of moderate size in every format, normal ones and no NaN in e4m3 */
    for (size_t i = 0; i < b->big_bytes; i += 2) {
        b->big[i] = ((i * 2654435761U >> 13) & 0xee) | 0x10;
        b->big[i + 1] = 0x3c;
    }
    for (size_t i = 0; i < b->big_bytes / 16; i++) b->powers[i] = 112 + i % 16;
    output_open(&b->out);
    b->j = (struct json){.out = &b->out};
    if (b->set->json) json_open(&b->j, NULL, '[');
}

void bench_close(struct bench *b) {
    if (b->set->json) json_close(&b->j, ']');
    output_close(&b->out);
    free(b->powers);
    free(b->first);
    free(b->block);
}
