#ifndef MOE_ENGINE_BATCH_H
#define MOE_ENGINE_BATCH_H
/* The rows of one pass, and the runs that they fall into: stretches of one sequence at consecutive positions.
 */

#include "base/arena.h"
#include "engine/moe.h"

struct moe_run {
    uint32_t sequence, position; /* of the first row */
    size_t first_row, n_rows;
};

struct moe_batch {
    const moe_row *rows; /* [n_rows], borrowed from the caller */
    size_t n_rows, n_runs;
    struct moe_run *runs; /* [max_rows] */
    uint32_t *wanted;     /* [n_wanted]: rows whose logits are wanted */
    size_t n_wanted;
};

void moe_batch_take(struct moe_batch *out, struct moe_arena *arena, size_t max_rows);
void moe_batch_set(struct moe_batch *b, const moe_row *rows, size_t n_rows);

#endif
