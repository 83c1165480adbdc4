#include "engine/pack_work.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

moe_status moe_pack_work_open(struct moe_pack_work *work, const moe_pack_options *opt, moe_error *err) {
    static const moe_pack_options defaults = {0};
    *work = (struct moe_pack_work){.options = opt ? *opt : defaults};
    if (!work->options.n_threads) work->options.n_threads = moe_physical_cores();
    return moe_team_open(&work->team, work->options.n_threads, err);
}

void moe_pack_work_begin(struct moe_pack_work *work, const char *phase, uint64_t total) {
    work->phase = phase;
    work->done = 0;
    work->total = total;
}

moe_status moe_pack_work_advance(struct moe_pack_work *work, uint64_t bytes, moe_error *err) {
    const moe_pack_options *o = &work->options;
    work->done += bytes;
    if (o->progress)
        o->progress(o->context, work->phase, (size_t)(work->done >> 20), (size_t)(work->total >> 20));
    if (o->is_cancelled && o->is_cancelled(o->context))
        return MOE_FAIL(err, MOE_E_CANCELLED, "%s: cancelled", work->phase);
    return MOE_OK;
}

struct moe_pack_matrix moe_pack_matrix_of(const struct moe_tensor *t) {
    bool is_stacked = t->rank == 3;
    return (struct moe_pack_matrix){.tensor = t,
                                    .n = is_stacked ? t->shape[0] : 1,
                                    .rows = t->shape[t->rank - 2],
                                    .cols = t->shape[t->rank - 1],
                                    .is_stacked = is_stacked};
}

bool moe_pack_has_suffix(const char *text, const char *suffix) {
    size_t n = strlen(text), n_suffix = strlen(suffix);
    return n >= n_suffix && !strcmp(text + n - n_suffix, suffix);
}

/* ---- the loop over rows ------------------------------------------------------------------------------- */

size_t moe_pack_chunk_rows(size_t cols) {
    size_t n = MOE_PACK_CHUNK / (cols * sizeof(uint16_t));
    return n ? n : 1;
}

struct run {
    const struct moe_pack_loop *loop;
    size_t first, n_rows, chunk_rows; /* of the batch */
    unsigned char *buffers;           /* [n_workers, chunk_rows, cols] of 16 bits */
    atomic_bool failed;
    struct outcome {
        moe_status status;
        moe_error err;
    } * outcomes; /* [n_workers] */
};

static moe_status do_chunk(struct run *run, size_t rank, size_t chunk, moe_error *err) {
    const struct moe_pack_loop *l = run->loop;
    const struct moe_pack_matrix *m = l->matrix;
    size_t row_bytes = m->cols * sizeof(uint16_t), at = chunk * run->chunk_rows;
    size_t n = run->n_rows - at < run->chunk_rows ? run->n_rows - at : run->chunk_rows;
    unsigned char *buffer = run->buffers + rank * run->chunk_rows * row_bytes;
    const struct moe_pack_rows rows = {
        .w = {.format = MOE_FORMAT_BF16, .rows = n, .cols = m->cols, .row_bytes = row_bytes, .data = buffer},
        .i = l->i,
        .first = run->first + at,
        .chunk = chunk,
        .rank = rank};
    MOE_TRY(moe_checkpoint_read(l->source, m->tensor, buffer, n * row_bytes,
                                (l->i * m->rows + rows.first) * row_bytes, err));
    return l->each(l->context, &rows, err);
}

static void work_batch(struct moe_worker *worker, void *context) {
    struct run *run = context;
    size_t n_chunks = (run->n_rows + run->chunk_rows - 1) / run->chunk_rows, chunk;
    struct outcome *mine = &run->outcomes[worker->rank];
    while (moe_worker_next(worker, n_chunks, &chunk)) {
        if (atomic_load_explicit(&run->failed, memory_order_relaxed)) continue;
        mine->status = do_chunk(run, worker->rank, chunk, &mine->err);
        if (mine->status != MOE_OK) atomic_store_explicit(&run->failed, true, memory_order_relaxed);
    }
}

static moe_status outcome_of(const struct run *run, size_t n_workers, moe_error *err) {
    for (size_t i = 0; i < n_workers; i++) {
        const struct outcome *o = &run->outcomes[i];
        if (o->status != MOE_OK) return MOE_FAIL(err, o->status, "%s", o->err.message);
    }
    return MOE_OK;
}

static moe_status run_batches(struct moe_pack_work *work, struct run *run, moe_error *err) {
    const struct moe_pack_loop *l = run->loop;
    size_t n_workers = work->options.n_threads, most = MOE_PACK_BATCH * run->chunk_rows;
    for (size_t at = 0; at < l->matrix->rows; at += run->n_rows) {
        run->first = at;
        run->n_rows = l->matrix->rows - at < most ? l->matrix->rows - at : most;
        moe_team_run(&work->team, n_workers, work_batch, run);
        MOE_TRY(outcome_of(run, n_workers, err));
        if (l->after) MOE_TRY(l->after(l->context, at, run->n_rows, err));
        MOE_TRY(moe_pack_work_advance(work, run->n_rows * l->bytes_per_row, err));
    }
    return MOE_OK;
}

moe_status moe_pack_loop_run(struct moe_pack_work *work, const struct moe_pack_loop *loop, moe_error *err) {
    struct run run = {.loop = loop, .chunk_rows = moe_pack_chunk_rows(loop->matrix->cols)};
    size_t n = work->options.n_threads, row_bytes = loop->matrix->cols * sizeof(uint16_t), bytes;
    atomic_init(&run.failed, false);
    bool overflow = __builtin_mul_overflow(n * run.chunk_rows, row_bytes, &bytes);
    run.buffers = overflow ? NULL : malloc(bytes);
    run.outcomes = calloc(n, sizeof *run.outcomes);
    moe_status status = MOE_OK;
    if (!run.buffers || !run.outcomes)
        status =
            MOE_FAIL(err, MOE_E_MEMORY, "tensor %s: out of memory for its rows", loop->matrix->tensor->name);
    if (status == MOE_OK) status = run_batches(work, &run, err);
    free(run.outcomes);
    free(run.buffers);
    return status;
}

/* ---- checksums ---------------------------------------------------------------------------------------- */

moe_status moe_pack_hash_begin(struct moe_pack_hash *out, const char *dtype, const size_t *shape, size_t rank,
                               moe_error *err) {
    char number[32];
    out->state = XXH3_createState();
    if (!out->state) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    XXH3_64bits_reset(out->state);
    moe_pack_hash_add(out, dtype, strlen(dtype));
    moe_pack_hash_add(out, "[", 1);
    for (size_t i = 0; i < rank; i++) {
        int n = snprintf(number, sizeof number, "%s%zu", i ? "," : "", shape[i]);
        moe_pack_hash_add(out, number, (size_t)n);
    }
    moe_pack_hash_add(out, "]\n", 2);
    return MOE_OK;
}

void moe_pack_hash_add(struct moe_pack_hash *hash, const void *bytes, size_t n) {
    XXH3_64bits_update(hash->state, bytes, n);
}

uint64_t moe_pack_hash_end(struct moe_pack_hash *hash) {
    uint64_t digest = XXH3_64bits_digest(hash->state);
    XXH3_freeState(hash->state);
    hash->state = NULL;
    return digest;
}
