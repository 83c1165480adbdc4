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

/* Query heads that share a kv head. */
static size_t group_of(const struct moe_layer_spec *layer) {
    return layer->n_heads / layer->n_kv_heads;
}

static struct moe_tile_shape tile_of(const struct moe_layer_spec *layer) {
    size_t heads = group_of(layer) < TILE_QUERIES ? group_of(layer) : TILE_QUERIES;
    return (struct moe_tile_shape){.heads = heads, .rows = TILE_QUERIES / heads};
}

static void take_tiles(struct moe_attention *out, struct moe_arena *arena, size_t n_workers) {
    size_t n = TILE_QUERIES;
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
    switch (spec->family->attention) {
    case MOE_ATTENTION_GROUPED:
        moe_grouped_take(out, arena, spec, max_rows);
        break;
    case MOE_ATTENTION_LATENT:
        moe_latent_take(out, arena, spec, layouts, max_rows);
        break;
    }
    for (size_t i = 0; i < spec->n_ropes; i++)
        if (spec->ropes[i].n_pairs > out->ld_angles) out->ld_angles = spec->ropes[i].n_pairs;
    out->max_rows = max_rows;
    out->q = moe_arena_take(arena, max_rows, spec->n_heads * out->key_dim * sizeof(float));
    out->cosine = moe_arena_take(arena, spec->n_ropes * max_rows, out->ld_angles * sizeof(float));
    out->sine = moe_arena_take(arena, spec->n_ropes * max_rows, out->ld_angles * sizeof(float));
    out->inv_freq = moe_arena_take(arena, n_workers, out->ld_angles * sizeof(float));
    moe_activations_take(&out->out, arena, max_rows, spec->n_heads * spec->value_dim, layouts);
    take_tiles(out, arena, n_workers);
}

/* Where the angles of a row by one RoPE begin. */
static size_t angles_at(const struct moe_attention *a, size_t rope, size_t row) {
    return (rope * a->max_rows + row) * a->ld_angles;
}

void moe_attention_find_angles(struct moe_worker *worker, struct moe_session *s, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_attention *a = &s->attention;
    const moe_row *r = &s->batch.rows[row];
    float *inv_freq = a->inv_freq + worker->rank * a->ld_angles;
    for (size_t i = 0; i < spec->n_ropes; i++) {
        const struct moe_rope_spec *rope = &spec->ropes[i];
        size_t at = angles_at(a, i, row);
        if (!rope->n_pairs) continue; /* of no layer */
        float factor = moe_rope_frequencies(inv_freq, rope, moe_session_final_length(s, r->sequence));
        s->gemm.kernels->rope_angles(a->cosine + at, a->sine + at, inv_freq, rope->n_pairs, r->position,
                                     factor);
    }
}

void moe_attention_rotate(const struct moe_session *s, size_t layer, float *x, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    size_t rope = spec->layers[layer].rope;
    if (rope == MOE_NO_ROPE) return;
    size_t at = angles_at(&s->attention, rope, row), n = spec->ropes[rope].n_pairs;
    const float *cosine = s->attention.cosine + at, *sine = s->attention.sine + at;
    if (spec->rope_interleaved)
        s->gemm.kernels->rope_interleaved(x, cosine, sine, n);
    else
        s->gemm.kernels->rope_half(x, cosine, sine, n);
}

float moe_attention_growth(const struct moe_session *s, size_t layer, size_t row) {
    const struct moe_growth_spec *g = &s->model->spec.growth;
    if (!s->model->spec.layers[layer].grows) return 1;
    float steps = floorf(((float)s->batch.rows[row].position + g->first) / g->length);
    return (float)log1p((double)steps) * g->factor + 1;
}

/* Rows first_row .. + n_rows of one run; query heads first_head .. + n_heads, which share a kv head. */
struct task {
    size_t first_row, n_rows, first_head, n_heads, kv_head;
};

/* Tiles that the query heads of all kv heads fall into. */
static size_t count_head_tiles(const struct moe_layer_spec *layer) {
    size_t tile = tile_of(layer).heads;
    return (group_of(layer) + tile - 1) / tile * layer->n_kv_heads;
}

/* Finds task number `task`; *run and *before (tasks before that run) move forward from call to call. */
static struct task find_task(const struct moe_session *s, const struct moe_layer_spec *layer, size_t task,
                             size_t *run, size_t *before) {
    const struct moe_tile_shape shape = tile_of(layer);
    const struct moe_run *runs = s->batch.runs;
    size_t n_tiles = count_head_tiles(layer), per_kv = n_tiles / layer->n_kv_heads, n;
    while (task >= *before + (n = (runs[*run].n_rows + shape.rows - 1) / shape.rows * n_tiles)) {
        *before += n;
        ++*run;
    }
    size_t row = (task - *before) / n_tiles * shape.rows, rows_left = runs[*run].n_rows - row;
    size_t group = group_of(layer), tile = (task - *before) % n_tiles;
    size_t head = tile % per_kv * shape.heads, heads_left = group - head;
    return (struct task){.first_row = runs[*run].first_row + row,
                         .n_rows = rows_left < shape.rows ? rows_left : shape.rows,
                         .first_head = tile / per_kv * group + head,
                         .n_heads = heads_left < shape.heads ? heads_left : shape.heads,
                         .kv_head = tile / per_kv};
}

static size_t count_tasks(const struct moe_session *s, const struct moe_layer_spec *layer) {
    size_t n = 0, tile = tile_of(layer).rows;
    for (size_t i = 0; i < s->batch.n_runs; i++) n += (s->batch.runs[i].n_rows + tile - 1) / tile;
    return n * count_head_tiles(layer);
}

/* A position relative to a block's first one, as a bound inside the block. */
static uint8_t bound(size_t position, size_t block) {
    size_t at = position < block ? 0 : position - block;
    return (uint8_t)(at < MOE_KEY_BLOCK ? at : MOE_KEY_BLOCK);
}

/* A sink takes its share of the softmax like a key of that score without a value. */
static void load_tile(const struct moe_session *s, const struct moe_attention_tile *tile,
                      const struct task *t, size_t layer) {
    const struct moe_attention *a = &s->attention;
    const float *sinks = s->model->weights.layers[layer].sinks;
    size_t n_heads = s->model->spec.layers[layer].n_heads;
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
    return moe_activations_row(&s->attention.out, row) + head * spec->value_dim;
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
                       size_t at, const struct moe_layer_spec *layer, size_t *least, size_t *most) {
    *least = MOE_KEY_BLOCK;
    *most = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        uint8_t last = bound(rows[i].position + (size_t)1, at),
                first = bound(moe_layer_first_seen(layer, rows[i].position), at);
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
    const struct moe_layer_spec *plan = &spec->layers[layer];
    size_t least, most;
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
    load_tile(s, tile, t, layer);
    for (size_t at = moe_layer_first_seen(plan, rows[0].position) / MOE_KEY_BLOCK * MOE_KEY_BLOCK; at < end;
         at += MOE_KEY_BLOCK) {
        set_bounds(tile, t, rows, at, plan, &least, &most);
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
static void count_cache(struct moe_session *s, const struct moe_layer_spec *layer) {
    const struct moe_attention *a = &s->attention;
    size_t n_rows = tile_of(layer).rows, width = s->cache.key_dim + s->cache.value_dim;
    for (size_t i = 0; i < s->batch.n_runs; i++) {
        const struct moe_run *run = &s->batch.runs[i];
        for (size_t r = 0; r < run->n_rows; r++) {
            size_t position = run->position + r, tile = r - r % n_rows;
            bool last = r + 1 == run->n_rows || (r + 1) % n_rows == 0;
            if (last)
                s->counters.cache_bytes +=
                    (position + 1 - moe_layer_first_seen(layer, run->position + tile)) * width *
                    sizeof(float) * count_head_tiles(layer);
            s->counters.flops += (uint64_t)2 * (position + 1 - moe_layer_first_seen(layer, position)) *
                                 (a->key_dim + a->value_dim) * layer->n_heads;
        }
    }
}

void moe_attention_run(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_spec *plan = &spec->layers[layer];
    bool latent = spec->family->attention == MOE_ATTENTION_LATENT;
    if (latent)
        moe_latent_project(worker, s, layer);
    else
        moe_grouped_project(worker, s, layer);
    if (worker->rank == 0) count_cache(s, plan);
    size_t n_tasks = count_tasks(s, plan), run = 0, before = 0, i;
    while (moe_worker_next(worker, n_tasks, &i)) {
        struct task t = find_task(s, plan, i, &run, &before);
        attend(s, &s->attention.tiles[worker->rank], layer, &t);
    }
    moe_worker_barrier(worker);
    if (latent)
        moe_latent_expand(worker, s, layer);
    else
        moe_grouped_expand(worker, s, layer);
    const struct moe_problem output = {.x = &s->attention.out,
                                       .n_rows = s->batch.n_rows,
                                       .w = &s->model->weights.layers[layer].o.w,
                                       .y = s->delta,
                                       .ld_y = spec->hidden_size};
    moe_gemm_run(worker, &s->gemm, &output, 1);
    moe_worker_barrier(worker);
}
