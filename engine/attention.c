/* Three phases: project (to queries, and into the cache), attend, one task per tile of rows and heads, and
 * project the output. Blocks are aligned to absolute positions and visited in ascending order, so a query's
 * bits depend on its position and window alone. */
#include "engine/attention.h"

#include <math.h>
#include <string.h>

#include "engine/session.h"

/* Queries of a tile: enough to use each key block from registers, few enough that the tile stays in the L1
 * cache. */
enum { TILE_QUERIES = 32 };

static void take_tiles(struct moe_attention *out, struct moe_arena *arena, size_t n_workers) {
    size_t n = out->tile_rows * out->tile_heads;
    out->tiles = moe_arena_take(arena, n_workers, sizeof *out->tiles);
    for (size_t i = 0; i < n_workers; i++) {
        struct moe_attention_tile tile = {
            .q = moe_arena_take(arena, n, out->ld_q * sizeof(float)),
            .out = moe_arena_take(arena, n, out->value_dim * sizeof(float)),
            .max = moe_arena_take(arena, n, sizeof(float)),
            .sum = moe_arena_take(arena, n, sizeof(float)),
            .scores = moe_arena_take(arena, n, MOE_KEY_BLOCK * sizeof(float)),
            .first = moe_arena_take(arena, n, 1),
            .last = moe_arena_take(arena, n, 1),
        };
        if (out->tiles) out->tiles[i] = tile;
    }
}

void moe_attention_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                        const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows, size_t n_workers) {
    size_t group = spec->n_heads / spec->n_kv_heads;
    switch (spec->family->attention) {
    case MOE_ATTENTION_GROUPED:
        moe_grouped_take(out, arena, spec, max_rows);
        break;
    case MOE_ATTENTION_LATENT:
        moe_latent_take(out, arena, spec, layouts, max_rows);
        break;
    }
    out->tile_heads = group < TILE_QUERIES ? group : TILE_QUERIES;
    out->tile_rows = TILE_QUERIES / out->tile_heads;
    out->q = moe_arena_take(arena, max_rows, spec->n_heads * out->key_dim * sizeof(float));
    out->cosine = moe_arena_take(arena, max_rows, spec->rope.n_pairs * sizeof(float));
    out->sine = moe_arena_take(arena, max_rows, spec->rope.n_pairs * sizeof(float));
    out->inv_freq = moe_arena_take(arena, n_workers, spec->rope.n_pairs * sizeof(float));
    moe_activations_take(&out->out, arena, max_rows, spec->n_heads * moe_spec_value_dim(spec), layouts);
    take_tiles(out, arena, n_workers);
}

void moe_attention_find_angles(struct moe_worker *worker, struct moe_session *s, size_t row) {
    const struct moe_rope_spec *rope = &s->model->spec.rope;
    const moe_row *r = &s->batch.rows[row];
    float *inv_freq = s->attention.inv_freq + worker->rank * rope->n_pairs;
    size_t at = row * rope->n_pairs;
    float factor = moe_rope_frequencies(inv_freq, rope, moe_session_final_length(s, r->sequence));
    s->gemm.kernels->rope_angles(s->attention.cosine + at, s->attention.sine + at, inv_freq, rope->n_pairs,
                                 r->position, factor);
}

void moe_attention_rotate(const struct moe_session *s, float *x, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    size_t n = spec->rope.n_pairs;
    const float *cosine = s->attention.cosine + row * n, *sine = s->attention.sine + row * n;
    if (spec->rope_interleaved)
        s->gemm.kernels->rope_interleaved(x, cosine, sine, n);
    else
        s->gemm.kernels->rope_half(x, cosine, sine, n);
}

/* Rows first_row .. + n_rows of one run; query heads first_head .. + n_heads, which share a kv head. */
struct task {
    size_t first_row, n_rows, first_head, n_heads, kv_head;
};

/* Tiles that the query heads of all kv heads fall into. */
static size_t count_head_tiles(const struct moe_session *s) {
    const struct moe_spec *spec = &s->model->spec;
    size_t group = spec->n_heads / spec->n_kv_heads, tile = s->attention.tile_heads;
    return (group + tile - 1) / tile * spec->n_kv_heads;
}

/* Finds task number `task`; *run and *before (tasks before that run) move forward from call to call. */
static struct task find_task(const struct moe_session *s, size_t task, size_t *run, size_t *before) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_attention *a = &s->attention;
    const struct moe_run *runs = s->batch.runs;
    size_t n_tiles = count_head_tiles(s), per_kv = n_tiles / spec->n_kv_heads, n;
    while (task >= *before + (n = (runs[*run].n_rows + a->tile_rows - 1) / a->tile_rows * n_tiles)) {
        *before += n;
        ++*run;
    }
    size_t row = (task - *before) / n_tiles * a->tile_rows, rows_left = runs[*run].n_rows - row;
    size_t group = spec->n_heads / spec->n_kv_heads, tile = (task - *before) % n_tiles;
    size_t head = tile % per_kv * a->tile_heads, heads_left = group - head;
    return (struct task){.first_row = runs[*run].first_row + row,
                         .n_rows = rows_left < a->tile_rows ? rows_left : a->tile_rows,
                         .first_head = tile / per_kv * group + head,
                         .n_heads = heads_left < a->tile_heads ? heads_left : a->tile_heads,
                         .kv_head = tile / per_kv};
}

static size_t count_tasks(const struct moe_session *s) {
    size_t n = 0, tile = s->attention.tile_rows;
    for (size_t i = 0; i < s->batch.n_runs; i++) n += (s->batch.runs[i].n_rows + tile - 1) / tile;
    return n * count_head_tiles(s);
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

/* A sink takes its share of the softmax like a key of that score without a value. */
static void load_tile(const struct moe_session *s, const struct moe_attention_tile *tile,
                      const struct task *t, const float *sinks) {
    const struct moe_attention *a = &s->attention;
    size_t n_heads = s->model->spec.n_heads;
    for (size_t i = 0; i < t->n_rows * t->n_heads; i++) {
        size_t head = t->first_head + i % t->n_heads, row = t->first_row + i / t->n_heads;
        memcpy(tile->q + i * a->ld_q, a->q + (row * n_heads + head) * a->key_dim,
               a->key_dim * sizeof *tile->q);
        tile->max[i] = sinks ? sinks[head] : -INFINITY;
        tile->sum[i] = sinks ? 1 : 0;
    }
    memset(tile->out, 0, t->n_rows * t->n_heads * a->value_dim * sizeof *tile->out);
}

/* Where the output of a head goes: grouped, beside those of the row's other heads; latent, to be expanded. */
static float *output_of(const struct moe_session *s, size_t row, size_t head) {
    const struct moe_spec *spec = &s->model->spec;
    if (spec->latent.kv_rank)
        return moe_activations_row(&s->attention.latent.mixed, row * spec->n_heads + head);
    return moe_activations_row(&s->attention.out, row) + head * spec->head_dim;
}

static void store_tile(const struct moe_session *s, const struct moe_attention_tile *tile,
                       const struct task *t) {
    size_t dim = s->attention.value_dim;
    for (size_t i = 0; i < t->n_rows * t->n_heads; i++)
        s->gemm.kernels->scale(output_of(s, t->first_row + i / t->n_heads, t->first_head + i % t->n_heads),
                               tile->out + i * dim, dim, 1 / tile->sum[i]);
}

/* Which keys of the block from position `at` on each query sees; the range that any of them does. */
static void set_bounds(const struct moe_attention_tile *tile, const struct task *t, const moe_row *rows,
                       size_t at, size_t window, size_t *least, size_t *most) {
    *least = MOE_KEY_BLOCK;
    *most = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        uint8_t last = bound(rows[i].position + (size_t)1, at),
                first = bound(first_seen(rows[i].position, window), at);
        if (first >= last) first = last = 0;
        memset(tile->first + i * t->n_heads, first, t->n_heads);
        memset(tile->last + i * t->n_heads, last, t->n_heads);
        if (first < last && first < *least) *least = first;
        if (last > *most) *most = last;
    }
}

/* Dots of the queries with the rows of a block of the latent cache. */
static void dot_rows(const struct moe_session *s, const struct moe_attention_tile *tile, size_t n_q,
                     const float *rows, size_t first, size_t last) {
    const struct moe_attention *a = &s->attention;
    const struct moe_rows q = {.data = tile->q, .ld = a->ld_q, .n = n_q};
    const struct moe_matrix w = {.format = MOE_FORMAT_F32,
                                 .rows = MOE_KEY_BLOCK,
                                 .cols = a->key_dim,
                                 .row_bytes = a->key_dim * sizeof *rows,
                                 .data = rows};
    if (first < last)
        s->gemm.kernels->format[MOE_FORMAT_F32].gemm(tile->scores, MOE_KEY_BLOCK, &q, &w, first,
                                                     last - first);
}

static void attend(const struct moe_session *s, const struct moe_attention_tile *tile, size_t layer,
                   const struct task *t) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_attention *a = &s->attention;
    const moe_row *rows = s->batch.rows + t->first_row;
    size_t window = spec->layers[layer].window, least, most;
    size_t end = rows[t->n_rows - 1].position + (size_t)1;
    struct moe_attention_block block = {.q = tile->q,
                                        .n_q = t->n_rows * t->n_heads,
                                        .key_dim = a->key_dim,
                                        .value_dim = a->value_dim,
                                        .ld_values = s->cache.value_dim,
                                        .scale = spec->attention_scale,
                                        .first = tile->first,
                                        .last = tile->last,
                                        .max = tile->max,
                                        .sum = tile->sum,
                                        .out = tile->out,
                                        .scores = tile->scores};
    load_tile(s, tile, t, s->model->weights.layers[layer].sinks);
    for (size_t at = first_seen(rows[0].position, window) / MOE_KEY_BLOCK * MOE_KEY_BLOCK; at < end;
         at += MOE_KEY_BLOCK) {
        set_bounds(tile, t, rows, at, window, &least, &most);
        block.values = moe_cache_values(&s->cache, layer, rows[0].sequence, t->kv_head, at);
        if (s->cache.key_dim) {
            size_t next = at + MOE_KEY_BLOCK;
            block.keys = moe_cache_keys(&s->cache, layer, rows[0].sequence, t->kv_head, at);
            block.ahead =
                next < end ? moe_cache_keys(&s->cache, layer, rows[0].sequence, t->kv_head, next) : NULL;
        } else {
            dot_rows(s, tile, block.n_q, block.values, least, most);
        }
        s->gemm.kernels->attention_block(&block);
    }
    store_tile(s, tile, t);
}

/* What one layer reads of the cache: each tile of rows what any of its rows sees, once per tile of heads. */
static void count_cache(struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_attention *a = &s->attention;
    size_t window = spec->layers[layer].window, width = s->cache.key_dim + s->cache.value_dim;
    for (size_t i = 0; i < s->batch.n_runs; i++) {
        const struct moe_run *run = &s->batch.runs[i];
        for (size_t r = 0; r < run->n_rows; r++) {
            size_t position = run->position + r, tile = r - r % a->tile_rows;
            bool last = r + 1 == run->n_rows || (r + 1) % a->tile_rows == 0;
            if (last)
                s->counters.cache_bytes += (position + 1 - first_seen(run->position + tile, window)) * width *
                                           sizeof(float) * count_head_tiles(s);
            s->counters.flops += (uint64_t)2 * (position + 1 - first_seen(position, window)) *
                                 (a->key_dim + a->value_dim) * spec->n_heads;
        }
    }
}

void moe_attention_run(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    bool latent = spec->family->attention == MOE_ATTENTION_LATENT;
    if (latent)
        moe_latent_project(worker, s, layer);
    else
        moe_grouped_project(worker, s, layer);
    if (worker->rank == 0) count_cache(s, layer);
    size_t n_tasks = count_tasks(s), run = 0, before = 0, i;
    while (moe_worker_next(worker, n_tasks, &i)) {
        struct task t = find_task(s, i, &run, &before);
        attend(s, &s->attention.tiles[worker->rank], layer, &t);
    }
    moe_worker_barrier(worker);
    if (latent)
        moe_latent_expand(worker, s, layer);
    else
        moe_grouped_expand(worker, s);
    const struct moe_problem output = {.x = &s->attention.out,
                                       .n_rows = s->batch.n_rows,
                                       .w = &s->model->weights.layers[layer].o.w,
                                       .y = s->delta,
                                       .ld_y = spec->hidden_size};
    moe_gemm_run(worker, &s->gemm, &output, 1);
    moe_worker_barrier(worker);
}
