/* Columns of Y (rows of W) are cut into tiles; a task is one tile of one problem. The native tile gives the
 * bits of the plain dot product whatever the cut, so its size is free: small enough that every worker gets
 * several tasks of a short list, large enough that a task streams some hundred KiB of weights. */
#include "engine/gemm.h"

#include <stdint.h>
#include <string.h>

enum {
    TILE_STEP = 24, /* a multiple of the columns that every native tile takes at once */
    TILE_MAX = 96,  /* native; 384 KiB of bf16 weights at 2048 columns */
    TILE_OPENBLAS = 256,
    TASKS_PER_WORKER = 8,
    WAVE = 32 /* products handed to OpenBLAS at once */
};

void moe_activations_take(struct moe_activations *out, struct moe_arena *arena, size_t n_rows,
                          size_t n_columns, const bool layouts[MOE_LAYOUT_COUNT]) {
    *out = (struct moe_activations){.n_columns = n_columns,
                                    .ld = moe_layout_padded(MOE_LAYOUT_QUADS, n_columns)};
    for (size_t i = 0; i < MOE_LAYOUT_COUNT; i++)
        if (i == MOE_LAYOUT_NATURAL || layouts[i])
            out->data[i] = moe_arena_take(arena, n_rows, out->ld * sizeof(float));
}

float *moe_activations_row(const struct moe_activations *a, size_t r) {
    return a->data[MOE_LAYOUT_NATURAL] + r * a->ld;
}

void moe_activations_pack(const struct moe_activations *a, size_t r, const struct moe_kernels *kernels) {
    for (size_t i = 0; i < MOE_LAYOUT_COUNT; i++)
        if (i != MOE_LAYOUT_NATURAL && a->data[i])
            kernels->layout[i].pack(a->data[i] + r * a->ld, moe_activations_row(a, r), a->n_columns);
}

/* From one row of X to the next, where they are not gathered by an index. */
static size_t row_distance(const struct moe_problem *p) {
    return p->x->ld * (p->row_step ? p->row_step : 1);
}

/* The tiles of a list, walked forward. */
struct cursor {
    const struct moe_problem *problems;
    size_t n_problems, tile;
    size_t at, first_task; /* the current problem, and the number of its first task */
};

static size_t count_tiles(const struct moe_problem *p, size_t tile) {
    return p->n_rows ? (p->w->rows + tile - 1) / tile : 0;
}

/* The problem that a task belongs to; tasks are asked for in ascending order. */
static const struct moe_problem *seek(struct cursor *c, size_t task) {
    size_t n;
    while (task >= c->first_task + (n = count_tiles(&c->problems[c->at], c->tile))) {
        c->first_task += n;
        c->at++;
    }
    return &c->problems[c->at];
}

static size_t count_tasks(const struct cursor *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_problems; i++) n += count_tiles(&c->problems[i], c->tile);
    return n;
}

static size_t choose_tile(const struct moe_problem *problems, size_t n_problems, size_t n_workers) {
    size_t columns = 0;
    for (size_t i = 0; i < n_problems; i++)
        if (problems[i].n_rows) columns += problems[i].w->rows;
    size_t tile = columns / (n_workers * TASKS_PER_WORKER);
    tile = (tile + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
    return tile < TILE_STEP ? TILE_STEP : tile > TILE_MAX ? TILE_MAX : tile;
}

static void run_native(struct moe_worker *worker, const struct moe_kernels *kernels, struct cursor *c) {
    size_t n_tasks = count_tasks(c), task;
    while (moe_worker_next(worker, n_tasks, &task)) {
        const struct moe_problem *p = seek(c, task);
        size_t first = (task - c->first_task) * c->tile;
        size_t n = p->w->rows - first < c->tile ? p->w->rows - first : c->tile;
        const float *data = p->x->data[moe_format_layout(p->w->format)];
        const struct moe_rows rows = {data + p->first_row * p->x->ld, row_distance(p), p->n_rows, p->index};
        kernels->format[p->w->format].gemm(p->y, p->ld_y, &rows, p->w, first, n);
    }
}

/* Products collected for one call: all of n_columns x k. */
struct wave {
    struct moe_openblas_problem items[WAVE];
    size_t n, n_columns, k, used_weights, used_rows;
    const struct moe_problem *gathered; /* whose rows lie at rows_at */
    const float *rows_at;
};

static void flush(const struct moe_openblas *blas, struct wave *w) {
    moe_openblas_gemm(blas, w->items, w->n, w->n_columns, w->k);
    *w = (struct wave){0};
}

static const float *gather(struct wave *w, const struct moe_problem *p,
                           struct moe_openblas_scratch *scratch) {
    if (!p->index) return moe_activations_row(p->x, p->first_row);
    if (w->gathered == p) return w->rows_at;
    float *out = scratch->rows + w->used_rows;
    for (size_t i = 0; i < p->n_rows; i++)
        memcpy(out + i * p->w->cols, moe_activations_row(p->x, p->index[i]), p->w->cols * sizeof *out);
    w->used_rows += p->n_rows * p->w->cols;
    w->gathered = p;
    w->rows_at = out;
    return out;
}

/* Weights in fp32: as they are where they already are, else widened. */
static const float *widen(struct wave *w, const struct moe_problem *p, size_t first, size_t n,
                          const struct moe_gemm_backend *backend, struct moe_openblas_scratch *scratch) {
    const unsigned char *row = moe_matrix_row(p->w, first);
    bool plain = p->w->row_bytes == p->w->cols * sizeof(float) && (uintptr_t)row % sizeof(float) == 0;
    if (p->w->format == MOE_FORMAT_F32 && plain) return (const float *)(const void *)row;
    float *out = scratch->weights + w->used_weights;
    for (size_t r = 0; r < n; r++)
        backend->kernels->format[p->w->format].widen(out + r * p->w->cols, p->w, first + r);
    w->used_weights += n * p->w->cols;
    return out;
}

static void run_openblas(struct moe_worker *worker, const struct moe_gemm_backend *backend,
                         struct cursor *c) {
    struct moe_openblas_scratch *scratch = &backend->scratch[worker->rank];
    struct wave w = {0};
    size_t n_tasks = count_tasks(c), task;
    while (moe_worker_next(worker, n_tasks, &task)) {
        const struct moe_problem *p = seek(c, task);
        size_t first = (task - c->first_task) * c->tile, k = p->w->cols;
        size_t n = p->w->rows - first < c->tile ? p->w->rows - first : c->tile;
        bool other = w.n && (w.n_columns != n || w.k != k);
        if (other || w.n == WAVE || w.used_weights + n * k > scratch->n_weights ||
            w.used_rows + p->n_rows * k > scratch->n_rows)
            flush(backend->openblas, &w);
        w.n_columns = n;
        w.k = k;
        const float *weights = widen(&w, p, first, n, backend, scratch);
        const float *rows = gather(&w, p, scratch);
        w.items[w.n++] = (struct moe_openblas_problem){.y = p->y + first,
                                                       .x = rows,
                                                       .w = weights,
                                                       .n = p->n_rows,
                                                       .ld_y = p->ld_y,
                                                       .ld_x = p->index ? k : row_distance(p),
                                                       .ld_w = k};
    }
    if (w.n) flush(backend->openblas, &w);
}

static void count(moe_counters *counters, const struct moe_problem *problems, size_t n_problems) {
    for (size_t i = 0; i < n_problems; i++) {
        const struct moe_problem *p = &problems[i];
        if (!p->n_rows) continue;
        counters->weight_bytes += moe_matrix_bytes(p->w);
        counters->flops += (uint64_t)2 * p->n_rows * p->w->rows * p->w->cols;
    }
}

void moe_gemm_run(struct moe_worker *worker, const struct moe_gemm_backend *backend,
                  const struct moe_problem *problems, size_t n_problems) {
    struct cursor c = {.problems = problems, .n_problems = n_problems};
    if (worker->rank == 0) count(backend->counters, problems, n_problems);
    if (backend->openblas) {
        c.tile = TILE_OPENBLAS;
        run_openblas(worker, backend, &c);
    } else {
        c.tile = choose_tile(problems, n_problems, worker->n_workers);
        run_native(worker, backend->kernels, &c);
    }
}

void moe_openblas_scratch_take(struct moe_openblas_scratch *out, struct moe_arena *arena, size_t max_rows,
                               size_t max_columns) {
    out->n_weights = TILE_OPENBLAS * max_columns * 8;
    out->n_rows = max_rows * max_columns;
    out->weights = moe_arena_take(arena, out->n_weights, sizeof *out->weights);
    out->rows = moe_arena_take(arena, out->n_rows, sizeof *out->rows);
}
