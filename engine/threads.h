#ifndef MOE_ENGINE_THREADS_H
#define MOE_ENGINE_THREADS_H
/* The only threads of the engine. A pass runs once on every worker of a team (single program, many workers):
 * between two phases stands a barrier, inside a phase the workers share out numbered tasks. Which worker runs
 * a task never changes a bit, because no task sums into what another task writes. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"

struct moe_team {
    /* each on its own cache line: all workers spin on `generation` while others still take tasks */
    _Alignas(MOE_ALIGN) atomic_size_t arrived;
    _Alignas(MOE_ALIGN) atomic_size_t generation;
    _Alignas(MOE_ALIGN) atomic_size_t next_task;
};

struct moe_worker {
    struct moe_team *team;
    size_t rank, n_workers; /* rank 0 is the caller's thread */
};

typedef void moe_work_fn(struct moe_worker *worker, void *context);

/* A team of n_workers, the caller's thread among them. MOE_E_MEMORY if the system does not let the process
 * have as many threads, which OpenMP would answer by ending the process. */
moe_status moe_team_open(struct moe_team *team, size_t n_workers, moe_error *err);
/* Runs fn once on each of n_workers workers (fewer where the system or an enclosing parallel region grants
 * fewer) and returns when all have; nothing may fail in it. */
void moe_team_run(struct moe_team *team, size_t n_workers, moe_work_fn *fn, void *context);

/* Waits for all workers of the team; what each wrote before is seen by all after. Starts the next phase's
 * tasks at 0. */
void moe_worker_barrier(struct moe_worker *worker);
/* Takes the next task of the phase; false when all n_tasks are taken. A worker's tasks come in ascending
 * order. */
bool moe_worker_next(struct moe_worker *worker, size_t n_tasks, size_t *task);

#endif
