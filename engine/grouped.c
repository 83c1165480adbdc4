/* Grouped-query attention (Ainslie et al. 2023): q, k, v are projected, finished row by row (bias, norm,
 * clamp, RoPE) and keys and values stored; what comes out may pass a gate. */
#include "engine/attention.h"
#include "engine/session.h"

void moe_grouped_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                      size_t max_rows) {
    out->key_dim = out->ld_q = spec->head_dim;
    out->value_dim = spec->value_dim;
    out->k = moe_arena_take(arena, max_rows, spec->n_kv_heads * spec->head_dim * sizeof(float));
    out->v = moe_arena_take(arena, max_rows, spec->n_kv_heads * spec->value_dim * sizeof(float));
    if (spec->gate_dim)
        out->gate = moe_arena_take(arena, max_rows, spec->n_heads * spec->gate_dim * sizeof(float));
}

static void norm_heads(const struct moe_session *s, float *x, const float *gain, size_t n_heads) {
    const struct moe_spec *spec = &s->model->spec;
    size_t dim = spec->head_dim;
    for (size_t h = 0; h < n_heads; h++)
        s->gemm.kernels->rmsnorm(x + h * dim, x + h * dim, gain, dim, spec->norm_eps);
}

/* Bias, norm, clamp and RoPE of the projected row of one kind (q or k), [n_heads, head_dim]. */
static void finish_projection(const struct moe_session *s, size_t layer, size_t row, float *x,
                              const struct moe_linear *w, const float *gain, size_t n_heads) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t n = n_heads * spec->head_dim;
    bool after = spec->qk_norm == MOE_QK_NORM_AFTER_ROPE || spec->qk_norm == MOE_QK_NORM_UNIT;
    if (w->bias) k->add(x, w->bias, n);
    if (gain && spec->qk_norm == MOE_QK_NORM_FLAT) k->rmsnorm(x, x, gain, n, spec->norm_eps);
    if (gain && spec->qk_norm == MOE_QK_NORM_PER_HEAD) norm_heads(s, x, gain, n_heads);
    if (spec->clip_qkv > 0) k->clamp(x, n, spec->clip_qkv);
    for (size_t h = 0; h < n_heads; h++) moe_attention_rotate(s, layer, x + h * spec->head_dim, row);
    if (gain && after) norm_heads(s, x, gain, n_heads);
}

static void finish_values(const struct moe_session *s, float *v, const struct moe_linear *w, size_t n) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    if (w->bias) k->add(v, w->bias, n);
    if (spec->clip_qkv > 0) k->clamp(v, n, spec->clip_qkv);
    if (spec->value_scale != 1) k->scale(v, v, n, spec->value_scale);
}

static void finish_row(const struct moe_session *s, size_t layer, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_spec *plan = &spec->layers[layer];
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    const moe_row *r = &s->batch.rows[row];
    size_t n_q = plan->n_heads * spec->head_dim, n_v = plan->n_kv_heads * spec->value_dim;
    float *q = s->attention.q + row * n_q, *k = s->attention.k + row * plan->n_kv_heads * spec->head_dim,
          *v = s->attention.v + row * n_v, growth = moe_attention_growth(s, layer, row);
    finish_projection(s, layer, row, q, &w->q, w->q_norm, plan->n_heads);
    if (growth != 1) s->gemm.kernels->scale(q, q, n_q, growth);
    finish_projection(s, layer, row, k, &w->k, w->k_norm, plan->n_kv_heads);
    finish_values(s, v, &w->v, n_v);
    for (size_t h = 0; h < plan->n_kv_heads; h++)
        moe_cache_store(&s->cache, layer, r->sequence, h, r->position, k + h * spec->head_dim,
                        v + h * spec->value_dim);
}

void moe_grouped_project(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    const struct moe_attention *a = &s->attention;
    size_t n_rows = s->batch.n_rows, i;
    const struct moe_problem project[] = {
        {.x = &s->normed, .n_rows = n_rows, .w = &w->q.w, .y = a->q, .ld_y = w->q.w.rows},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->k.w, .y = a->k, .ld_y = w->k.w.rows},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->v.w, .y = a->v, .ld_y = w->v.w.rows},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->gate, .y = a->gate, .ld_y = w->gate.rows},
    };
    moe_gemm_run(worker, &s->gemm, project, spec->gate_dim ? 4 : 3);
    moe_worker_barrier(worker);
    while (moe_worker_next(worker, n_rows, &i)) finish_row(s, layer, i);
    moe_worker_barrier(worker);
}

/* The output of the heads times the gate's factors: one per dimension or per head. */
static void apply_gate(const struct moe_session *s, size_t layer, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t n_heads = spec->layers[layer].n_heads, n = n_heads * spec->gate_dim, dim = spec->value_dim;
    float *out = moe_activations_row(&s->attention.out, row), *gate = s->attention.gate + row * n;
    switch (spec->family->gate) {
    case MOE_GATE_NONE: /* is not applied */
        break;
    case MOE_GATE_SIGMOID:
        k->sigmoid(gate, gate, n);
        break;
    case MOE_GATE_SOFTPLUS:
        k->softplus(gate, gate, n);
        break;
    }
    if (spec->gate_dim == dim) {
        k->mul(out, gate, n);
    } else {
        for (size_t h = 0; h < n_heads; h++) k->scale(out + h * dim, out + h * dim, dim, gate[h]);
    }
}

void moe_grouped_expand(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    size_t i;
    while (moe_worker_next(worker, s->batch.n_rows, &i)) {
        if (s->model->spec.gate_dim) apply_gate(s, layer, i);
        moe_activations_pack(&s->attention.out, i, s->gemm.kernels);
    }
    moe_worker_barrier(worker);
}
