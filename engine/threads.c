/* OpenMP starts and keeps the threads; the barrier is our own, of C11 atomics: it costs a fraction of a
 * microsecond while the workers spin, gives way when there are more workers than processors, and the thread
 * sanitizer, which cannot see into libgomp, understands it. */
#include "engine/threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Turns of spinning before the processor is given away: a few microseconds, longer than an even phase's
 * imbalance. */
enum { SPINS = 4000 };

static inline void pause_spin(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *wait_for(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Whether so many threads can be had: they are started, all at once, and end again. What their stacks took is
 * kept by the C library for the next ones. */
static moe_status try_threads(size_t n, moe_error *err) {
    pthread_t *threads = calloc(n, sizeof *threads);
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    size_t started = 0;
    int failed = 0;
    if (!threads) return MOE_FAIL(err, MOE_E_MEMORY, "threads: out of memory for %zu", n);
    pthread_mutex_lock(&gate);
    while (started < n && (failed = pthread_create(&threads[started], NULL, wait_for, &gate)) == 0) started++;
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
    if (started == n) return MOE_OK;
    return MOE_FAIL(err, MOE_E_MEMORY, "threads: %zu wanted, %zu can be had: %s", n + 1, started + 1,
                    strerror(failed));
}

moe_status moe_team_open(struct moe_team *team, size_t n_workers, moe_error *err) {
    atomic_init(&team->arrived, 0);
    atomic_init(&team->generation, 0);
    atomic_init(&team->next_task, 0);
    return n_workers > 1 ? try_threads(n_workers - 1, err) : MOE_OK;
}

void moe_worker_barrier(struct moe_worker *worker) {
    struct moe_team *team = worker->team;
    size_t generation = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == worker->n_workers) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->next_task, 0, memory_order_relaxed);
        atomic_store_explicit(&team->generation, generation + 1, memory_order_release);
        return;
    }
    for (size_t spins = 0; atomic_load_explicit(&team->generation, memory_order_acquire) == generation;
         spins++) {
        if (spins < SPINS)
            pause_spin();
        else
            sched_yield();
    }
}

bool moe_worker_next(struct moe_worker *worker, size_t n_tasks, size_t *task) {
    *task = atomic_fetch_add_explicit(&worker->team->next_task, 1, memory_order_relaxed);
    return *task < n_tasks;
}

static void run_worker(struct moe_team *team, size_t rank, size_t n_workers, moe_work_fn *fn, void *context) {
    struct moe_worker worker = {team, rank, n_workers};
    moe_worker_barrier(&worker);
    fn(&worker, context);
    moe_worker_barrier(&worker);
}

void moe_team_run(struct moe_team *team, size_t n_workers, moe_work_fn *fn, void *context) {
    if (n_workers == 1) {
        run_worker(team, 0, 1, fn, context);
        return;
    }
    /* what OpenMP grants is what the barrier counts on: limits of its environment make that fewer than asked
     * for */
#pragma omp parallel num_threads((int)n_workers) default(none) shared(team, fn, context)
    run_worker(team, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads(), fn, context);
}
