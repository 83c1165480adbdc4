/* Grouped-query attention (Ainslie et al. 2023): q, k, v are projected, finished row by row (bias, norm,
 * clamp, RoPE) and keys and values stored. */
#include "engine/attention.h"
#include "engine/session.h"

void moe_grouped_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                      size_t max_rows) {
    size_t n_kv = spec->n_kv_heads * spec->head_dim;
    out->key_dim = out->value_dim = out->ld_q = spec->head_dim;
    out->k = moe_arena_take(arena, max_rows, n_kv * sizeof(float));
    out->v = moe_arena_take(arena, max_rows, n_kv * sizeof(float));
}

/* Bias, norm and clamp of the projected rows of one kind (q or k), [n_heads, head_dim]. */
static void finish_projection(const struct moe_session *s, float *x, const struct moe_linear *w,
                              const float *norm, size_t n_heads) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t n = n_heads * spec->head_dim;
    if (w->bias) k->add(x, w->bias, n);
    if (norm && spec->qk_norm == MOE_QK_NORM_FLAT) k->rmsnorm(x, x, norm, n, spec->norm_eps);
    if (norm && spec->qk_norm == MOE_QK_NORM_PER_HEAD)
        for (size_t h = 0; h < n_heads; h++)
            k->rmsnorm(x + h * spec->head_dim, x + h * spec->head_dim, norm, spec->head_dim, spec->norm_eps);
    if (spec->clip_qkv > 0) k->clamp(x, n, spec->clip_qkv);
}

static void finish_row(const struct moe_session *s, size_t layer, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    size_t dim = spec->head_dim, n_kv = spec->n_kv_heads * dim;
    float *q = s->attention.q + row * spec->n_heads * dim;
    float *k = s->attention.k + row * n_kv, *v = s->attention.v + row * n_kv;
    finish_projection(s, q, &w->q, w->q_norm, spec->n_heads);
    finish_projection(s, k, &w->k, w->k_norm, spec->n_kv_heads);
    finish_projection(s, v, &w->v, NULL, spec->n_kv_heads);
    for (size_t h = 0; h < spec->n_heads; h++) moe_attention_rotate(s, q + h * dim, row);
    for (size_t h = 0; h < spec->n_kv_heads; h++) {
        moe_attention_rotate(s, k + h * dim, row);
        moe_cache_store(&s->cache, layer, s->batch.rows[row].sequence, h, s->batch.rows[row].position,
                        k + h * dim, v + h * dim);
    }
}

void moe_grouped_project(struct moe_worker *worker, struct moe_session *s, size_t layer) {
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
}

void moe_grouped_expand(struct moe_worker *worker, struct moe_session *s) {
    size_t i;
    while (moe_worker_next(worker, s->batch.n_rows, &i))
        moe_activations_pack(&s->attention.out, i, s->gemm.kernels);
    moe_worker_barrier(worker);
}
