#include "engine/batch.h"

void moe_batch_take(struct moe_batch *out, struct moe_arena *arena, size_t max_rows) {
    out->runs = moe_arena_take(arena, max_rows, sizeof *out->runs);
    out->wanted = moe_arena_take(arena, max_rows, sizeof *out->wanted);
}

void moe_batch_set(struct moe_batch *b, const moe_row *rows, size_t n_rows) {
    b->rows = rows;
    b->n_rows = n_rows;
    b->n_runs = b->n_wanted = 0;
    for (size_t r = 0; r < n_rows; r++) {
        struct moe_run *run = b->n_runs ? &b->runs[b->n_runs - 1] : NULL;
        if (run && run->sequence == rows[r].sequence && run->position + run->n_rows == rows[r].position)
            run->n_rows++;
        else
            b->runs[b->n_runs++] = (struct moe_run){rows[r].sequence, rows[r].position, r, 1};
        if (rows[r].logits) b->wanted[b->n_wanted++] = (uint32_t)r;
    }
}
