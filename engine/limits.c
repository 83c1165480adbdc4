/* The machine's limits, measured as the engine would use them: the same threads, the kernels' own probes.
 *
 * Memory is read from huge pages, and in every way that the kernels know, because a limit is what is
 * possible: on an Emerald Rapids one thread reads 14.3 GB/s in one stream, 16.4 with prefetches, 17.3 in four
 * streams; two threads 28, 32 and 35. The buffer must not fit the caches, by a wide margin: one of the size
 * of that machine's last level, 260 MiB, was read at 39 GB/s. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/machine.h"
#include "base/status.h"
#include "engine/threads.h"
#include "kernels/select.h"

enum {
    LEAST_BYTES = 64 << 20,
    USUAL_BYTES = 256 << 20,
    MOST_BYTES = 1 << 30,
    HUGE_PAGE = 2 << 20,
    READ_SLICE = 1 << 20,
    FMA_ROUNDS = 400000,
    REPEATS = 5
};

struct probe {
    moe_probe_fma_fn *multiply_add;
    moe_probe_read_fn *read;
    unsigned char *data; /* [bytes] */
    size_t bytes;
    volatile float sink; /* of worker 0 only: keeps the calls from being dropped */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Untouched pages would all be the one zero page. By all workers, so that memory near to each is used. */
static void touch_memory(struct moe_worker *worker, void *context) {
    struct probe *p = context;
    size_t i;
    while (moe_worker_next(worker, p->bytes / HUGE_PAGE, &i)) memset(p->data + i * HUGE_PAGE, 1, HUGE_PAGE);
}

static void read_memory(struct moe_worker *worker, void *context) {
    struct probe *p = context;
    float sum = 0;
    size_t i;
    while (moe_worker_next(worker, p->bytes / READ_SLICE, &i))
        sum += p->read(p->data + i * READ_SLICE, READ_SLICE);
    if (worker->rank == 0) p->sink = sum;
}

static void multiply_add(struct moe_worker *worker, void *context) {
    struct probe *p = context;
    float one = p->multiply_add(FMA_ROUNDS);
    if (worker->rank == 0) p->sink = one;
}

/* The best of a few runs: a limit is what is possible, and noise only takes away. */
static double fastest(struct moe_team *team, size_t n_workers, moe_work_fn *fn, struct probe *p) {
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        double start = now();
        moe_team_run(team, n_workers, fn, p);
        double seconds = now() - start;
        if (best == 0 || seconds < best) best = seconds;
    }
    return best;
}

/* Twice the caches, between the usual and the most, but no more than half of what memory is left. */
static size_t buffer_bytes(void) {
    size_t bytes = 2 * moe_cache_bytes(), spare = moe_memory_available() / 2;
    if (bytes < USUAL_BYTES) bytes = USUAL_BYTES;
    if (bytes > MOST_BYTES) bytes = MOST_BYTES;
    if (bytes > spare) bytes = spare;
    if (bytes < LEAST_BYTES) bytes = LEAST_BYTES;
    return bytes / HUGE_PAGE * HUGE_PAGE;
}

static double memory_bandwidth(struct probe *p, const struct moe_kernels *kernels, struct moe_team *team,
                               size_t n_workers) {
    moe_probe_read_fn *const ways[] = {kernels->probe_read, kernels->probe_read_ahead,
                                       kernels->probe_read_streams};
    double best = 0;
    moe_team_run(team, n_workers, touch_memory, p);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        p->read = ways[i];
        double seconds = fastest(team, n_workers, read_memory, p);
        if (best == 0 || seconds < best) best = seconds;
    }
    return (double)p->bytes / best;
}

moe_status moe_machine_limits(double *bandwidth, double *flops, size_t n_threads, const char *isa,
                              moe_precision precision, moe_error *err) {
    struct moe_kernels kernels;
    enum moe_isa selected;
    struct moe_team team;
    *bandwidth = *flops = 0;
    MOE_TRY(moe_isa_select(&selected, isa, err));
    moe_kernels_select(&kernels, selected);
    size_t n = n_threads ? n_threads : moe_physical_cores();
    MOE_TRY(moe_team_open(&team, n, err));
    size_t bytes = buffer_bytes(), mapped = bytes + HUGE_PAGE;
    unsigned char *map = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: %zu bytes wanted", mapped);
    struct probe p = {.multiply_add =
                          precision == MOE_PRECISION_BF16 ? kernels.probe_pairs : kernels.probe_fma,
                      .data = map + (-(uintptr_t)map & (HUGE_PAGE - 1)),
                      .bytes = bytes};
    madvise(p.data, bytes, MADV_HUGEPAGE); /* where it is refused, small pages are what is possible */
    *bandwidth = memory_bandwidth(&p, &kernels, &team, n);
    *flops = (double)n * FMA_ROUNDS * MOE_PROBE_FLOPS / fastest(&team, n, multiply_add, &p);
    munmap(map, mapped);
    return MOE_OK;
}
