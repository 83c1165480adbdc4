/* Four phases: project q, k, v; finish each row (bias, norm, clamp, RoPE) and store its keys and values;
 * attend, one task per kv head and tile of rows; project the output. Key blocks are aligned to absolute
 * positions and visited in ascending order, so a query's bits depend on its position and window alone. */
#include "engine/attention.h"

#include <math.h>
#include <string.h>

#include "engine/session.h"

/* Queries of a tile: enough to use each key block from registers, few enough that the tile stays in the L1
 * cache. */
enum { TILE_QUERIES = 32 };

static size_t group_size(const struct moe_spec *spec) {
    return spec->n_heads / spec->n_kv_heads;
}

void moe_attention_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                        const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows, size_t n_workers) {
    size_t group = group_size(spec), n_q = spec->n_heads * spec->head_dim,
           n_kv = spec->n_kv_heads * spec->head_dim;
    out->tile_rows = group < TILE_QUERIES ? TILE_QUERIES / group : 1;
    out->q = moe_arena_take(arena, max_rows, n_q * sizeof(float));
    out->k = moe_arena_take(arena, max_rows, n_kv * sizeof(float));
    out->v = moe_arena_take(arena, max_rows, n_kv * sizeof(float));
    out->cosine = moe_arena_take(arena, max_rows, spec->rope.n_pairs * sizeof(float));
    out->sine = moe_arena_take(arena, max_rows, spec->rope.n_pairs * sizeof(float));
    out->inv_freq = moe_arena_take(arena, n_workers, spec->rope.n_pairs * sizeof(float));
    moe_activations_take(&out->out, arena, max_rows, n_q, layouts);
    out->tiles = moe_arena_take(arena, n_workers, sizeof *out->tiles);
    size_t n = out->tile_rows * group;
    for (size_t i = 0; i < n_workers; i++) {
        struct moe_attention_tile tile = {
            .q = moe_arena_take(arena, n, spec->head_dim * sizeof(float)),
            .out = moe_arena_take(arena, n, spec->head_dim * sizeof(float)),
            .max = moe_arena_take(arena, n, sizeof(float)),
            .sum = moe_arena_take(arena, n, sizeof(float)),
            .scores = moe_arena_take(arena, n, MOE_KEY_BLOCK * sizeof(float)),
            .first = moe_arena_take(arena, n, 1),
            .last = moe_arena_take(arena, n, 1),
        };
        if (out->tiles) out->tiles[i] = tile;
    }
}

void moe_attention_find_angles(struct moe_worker *worker, struct moe_session *s, size_t row) {
    const struct moe_rope_spec *rope = &s->model->spec.rope;
    const moe_row *r = &s->batch.rows[row];
    float *inv_freq = s->attention.inv_freq + worker->rank * rope->n_pairs;
    size_t at = row * rope->n_pairs, length = s->next_position[r->sequence];
    if (s->expected[r->sequence] > length) length = s->expected[r->sequence];
    moe_rope_frequencies(inv_freq, rope, length);
    s->gemm.kernels->rope_angles(s->attention.cosine + at, s->attention.sine + at, inv_freq, rope->n_pairs,
                                 r->position, rope->attention);
}

/* Bias, norm and clamp of the projected rows of one kind (q or k), [n_heads, head_dim]. */
static void finish_projection(const struct moe_session *s, float *x, const struct moe_linear *w,
                              const float *norm, size_t n_heads) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t n = n_heads * spec->head_dim;
    if (w->bias) k->add(x, w->bias, n);
    switch (norm ? spec->family->qk_norm : MOE_QK_NORM_NONE) {
    case MOE_QK_NORM_NONE:
        break;
    case MOE_QK_NORM_FLAT:
        k->rmsnorm(x, x, norm, n, spec->norm_eps);
        break;
    case MOE_QK_NORM_PER_HEAD:
        for (size_t h = 0; h < n_heads; h++)
            k->rmsnorm(x + h * spec->head_dim, x + h * spec->head_dim, norm, spec->head_dim, spec->norm_eps);
        break;
    }
    if (spec->clip_qkv > 0) k->clamp(x, n, spec->clip_qkv);
}

static void rotate_heads(const struct moe_session *s, float *x, size_t row, size_t n_heads) {
    const struct moe_spec *spec = &s->model->spec;
    const float *cosine = s->attention.cosine + row * spec->rope.n_pairs;
    const float *sine = s->attention.sine + row * spec->rope.n_pairs;
    for (size_t h = 0; h < n_heads; h++)
        s->gemm.kernels->rope_half(x + h * spec->head_dim, cosine, sine, spec->rope.n_pairs);
}

static void finish_row(const struct moe_session *s, size_t layer, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    size_t n_kv = spec->n_kv_heads * spec->head_dim;
    float *q = s->attention.q + row * spec->n_heads * spec->head_dim;
    float *k = s->attention.k + row * n_kv, *v = s->attention.v + row * n_kv;
    finish_projection(s, q, &w->q, w->q_norm, spec->n_heads);
    finish_projection(s, k, &w->k, w->k_norm, spec->n_kv_heads);
    finish_projection(s, v, &w->v, NULL, spec->n_kv_heads);
    rotate_heads(s, q, row, spec->n_heads);
    rotate_heads(s, k, row, spec->n_kv_heads);
    for (size_t h = 0; h < spec->n_kv_heads; h++)
        moe_cache_store(&s->cache, layer, s->batch.rows[row].sequence, h, s->batch.rows[row].position,
                        k + h * spec->head_dim, v + h * spec->head_dim);
}

/* Rows first_row .. + n_rows of one run, against kv head `head`. */
struct task {
    size_t first_row, n_rows, head;
};

/* Finds task number `task`; *run and *before (tasks before that run) move forward from call to call. */
static struct task find_task(const struct moe_session *s, size_t task, size_t *run, size_t *before) {
    size_t n_heads = s->model->spec.n_kv_heads, tile = s->attention.tile_rows, n;
    const struct moe_run *runs = s->batch.runs;
    while (task >= *before + (n = (runs[*run].n_rows + tile - 1) / tile * n_heads)) {
        *before += n;
        ++*run;
    }
    size_t at = (task - *before) / n_heads * tile, left = runs[*run].n_rows - at;
    return (struct task){runs[*run].first_row + at, left < tile ? left : tile, (task - *before) % n_heads};
}

static size_t count_tasks(const struct moe_session *s) {
    size_t n = 0, tile = s->attention.tile_rows;
    for (size_t i = 0; i < s->batch.n_runs; i++) n += (s->batch.runs[i].n_rows + tile - 1) / tile;
    return n * s->model->spec.n_kv_heads;
}

/* The first position that a row at `position` sees. */
static size_t first_seen(size_t position, size_t window) {
    return window && position >= window ? position - window + 1 : 0;
}

/* A position relative to a block's first one, as a bound inside the block. */
static uint8_t bound(size_t position, size_t block) {
    size_t at = position < block ? 0 : position - block;
    return (uint8_t)(at < MOE_KEY_BLOCK ? at : MOE_KEY_BLOCK);
}

static void load_tile(const struct moe_session *s, const struct moe_attention_tile *tile,
                      const struct task *t) {
    const struct moe_spec *spec = &s->model->spec;
    size_t group = group_size(spec), width = group * spec->head_dim;
    for (size_t i = 0; i < t->n_rows; i++)
        memcpy(tile->q + i * width,
               s->attention.q + (t->first_row + i) * spec->n_heads * spec->head_dim + t->head * width,
               width * sizeof *tile->q);
    memset(tile->out, 0, t->n_rows * width * sizeof *tile->out);
    for (size_t i = 0; i < t->n_rows * group; i++) {
        tile->max[i] = -INFINITY;
        tile->sum[i] = 0;
    }
}

static void store_tile(const struct moe_session *s, const struct moe_attention_tile *tile,
                       const struct task *t) {
    const struct moe_spec *spec = &s->model->spec;
    size_t group = group_size(spec), dim = spec->head_dim;
    for (size_t i = 0; i < t->n_rows; i++) {
        float *out = moe_activations_row(&s->attention.out, t->first_row + i) + t->head * group * dim;
        for (size_t g = 0; g < group; g++)
            s->gemm.kernels->scale(out + g * dim, tile->out + (i * group + g) * dim, dim,
                                   1 / tile->sum[i * group + g]);
    }
}

static void attend(const struct moe_session *s, const struct moe_attention_tile *tile, size_t layer,
                   const struct task *t) {
    const struct moe_spec *spec = &s->model->spec;
    const moe_row *rows = s->batch.rows + t->first_row;
    size_t group = group_size(spec), window = spec->layers[layer].window;
    size_t end = rows[t->n_rows - 1].position + (size_t)1;
    struct moe_attention_block block = {.q = tile->q,
                                        .n_q = t->n_rows * group,
                                        .key_dim = spec->head_dim,
                                        .value_dim = spec->head_dim,
                                        .ld_values = spec->head_dim,
                                        .scale = (float)(1 / sqrt((double)spec->head_dim)),
                                        .first = tile->first,
                                        .last = tile->last,
                                        .max = tile->max,
                                        .sum = tile->sum,
                                        .out = tile->out,
                                        .scores = tile->scores};
    load_tile(s, tile, t);
    for (size_t at = first_seen(rows[0].position, window) / MOE_KEY_BLOCK * MOE_KEY_BLOCK; at < end;
         at += MOE_KEY_BLOCK) {
        for (size_t i = 0; i < t->n_rows; i++) {
            uint8_t last = bound(rows[i].position + (size_t)1, at),
                    first = bound(first_seen(rows[i].position, window), at);
            memset(tile->first + i * group, first < last ? first : 0, group);
            memset(tile->last + i * group, first < last ? last : 0, group);
        }
        block.keys = moe_cache_keys(&s->cache, layer, rows[0].sequence, t->head, at);
        block.values = moe_cache_values(&s->cache, layer, rows[0].sequence, t->head, at);
        s->gemm.kernels->attention_block(&block);
    }
    store_tile(s, tile, t);
}

/* Keys and values that one layer reads: each tile of rows reads what any of its rows sees, once per kv head.
 */
static void count_cache(struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    size_t window = spec->layers[layer].window, width = 2 * spec->head_dim;
    for (size_t i = 0; i < s->batch.n_runs; i++) {
        const struct moe_run *run = &s->batch.runs[i];
        for (size_t r = 0; r < run->n_rows; r++) {
            size_t position = run->position + r, tile = r - r % s->attention.tile_rows;
            bool last = r + 1 == run->n_rows || (r + 1) % s->attention.tile_rows == 0;
            if (last)
                s->counters.cache_bytes += (position + 1 - first_seen(run->position + tile, window)) * width *
                                           sizeof(float) * spec->n_kv_heads;
            s->counters.flops +=
                (uint64_t)2 * (position + 1 - first_seen(position, window)) * width * spec->n_heads;
        }
    }
}

void moe_attention_run(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    const struct moe_attention *a = &s->attention;
    size_t n_rows = s->batch.n_rows, n_q = spec->n_heads * spec->head_dim,
           n_kv = spec->n_kv_heads * spec->head_dim, i;
    const struct moe_problem project[] = {
        {.x = &s->normed, .n_rows = n_rows, .w = &w->q.w, .y = a->q, .ld_y = n_q},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->k.w, .y = a->k, .ld_y = n_kv},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->v.w, .y = a->v, .ld_y = n_kv},
    };
    moe_gemm_run(worker, &s->gemm, project, 3);
    moe_worker_barrier(worker);
    while (moe_worker_next(worker, n_rows, &i)) finish_row(s, layer, i);
    moe_worker_barrier(worker);
    if (worker->rank == 0) count_cache(s, layer);
    size_t n_tasks = count_tasks(s), run = 0, before = 0;
    while (moe_worker_next(worker, n_tasks, &i)) {
        struct task t = find_task(s, i, &run, &before);
        attend(s, &a->tiles[worker->rank], layer, &t);
    }
    moe_worker_barrier(worker);
    while (moe_worker_next(worker, n_rows, &i)) moe_activations_pack(&a->out, i, s->gemm.kernels);
    moe_worker_barrier(worker);
    const struct moe_problem output = {
        .x = &a->out, .n_rows = n_rows, .w = &w->o.w, .y = s->delta, .ld_y = spec->hidden_size};
    moe_gemm_run(worker, &s->gemm, &output, 1);
    moe_worker_barrier(worker);
}
