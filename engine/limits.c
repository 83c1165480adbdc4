/* The machine's limits, measured as the engine would use them: the same threads, the kernels' own probes. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/status.h"
#include "engine/threads.h"
#include "kernels/select.h"

enum {
    READ_BYTES = 256 << 20, /* beyond any last-level cache of a machine with few cores */
    READ_SLICE = 1 << 20,
    FMA_ROUNDS = 200000,
    REPEATS = 5
};

struct probe {
    const struct moe_kernels *kernels;
    const unsigned char *data;
    volatile float sink; /* of worker 0 only: keeps the calls from being dropped */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_memory(struct moe_worker *worker, void *context) {
    struct probe *p = context;
    float sum = 0;
    size_t i;
    while (moe_worker_next(worker, READ_BYTES / READ_SLICE, &i))
        sum += p->kernels->probe_read(p->data + i * READ_SLICE, READ_SLICE);
    if (worker->rank == 0) p->sink = sum;
}

static void multiply_add(struct moe_worker *worker, void *context) {
    struct probe *p = context;
    float one = p->kernels->probe_fma(FMA_ROUNDS);
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

moe_status moe_machine_limits(double *bandwidth, double *flops, size_t n_threads, const char *isa,
                              moe_error *err) {
    struct moe_kernels kernels;
    enum moe_isa selected;
    struct moe_team team;
    *bandwidth = *flops = 0;
    MOE_TRY(moe_isa_select(&selected, isa, err));
    moe_kernels_select(&kernels, selected);
    void *data = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: %d bytes wanted", READ_BYTES);
    memset(data, 1, READ_BYTES); /* untouched pages would all be the one zero page */
    struct probe p = {.kernels = &kernels, .data = data};
    size_t n = n_threads ? n_threads : moe_physical_cores();
    moe_team_init(&team);
    *bandwidth = READ_BYTES / fastest(&team, n, read_memory, &p);
    *flops = (double)n * FMA_ROUNDS * MOE_PROBE_FLOPS / fastest(&team, n, multiply_add, &p);
    munmap(data, READ_BYTES);
    return MOE_OK;
}
