/* Multi-head latent attention (DeepSeek-V2, 2024) with its up-projection absorbed: of a position only the
 * latent vector and the shared rotated key are cached. A head's score q . (U c) is (U^T q) . c, so queries
 * are brought into the space of the latent vectors; what comes out of the softmax is a mix of latent vectors,
 * which the head's other matrix expands into its values. */
#include <string.h>

#include "engine/attention.h"
#include "engine/session.h"

/* The norms of the latent vectors have this epsilon whatever rms_norm_eps says (DeepseekV3Attention). */
static const float latent_eps = 1e-6f;

void moe_latent_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                     const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows) {
    const struct moe_latent_spec *l = &spec->latent;
    struct moe_latent *latent = &out->latent;
    out->key_dim = l->kv_rank + l->rope_dim;
    out->value_dim = l->kv_rank;
    out->ld_q = moe_layout_padded(MOE_LAYOUT_NATURAL, out->key_dim);
    if (l->q_rank) moe_activations_take(&latent->q_a, arena, max_rows, l->q_rank, layouts);
    latent->q = moe_arena_take(arena, max_rows, spec->n_heads * spec->head_dim * sizeof(float));
    latent->kv = moe_arena_take(arena, max_rows, out->key_dim * sizeof(float));
    moe_activations_take(&latent->nope, arena, max_rows * spec->n_heads, l->nope_dim, layouts);
    moe_activations_take(&latent->mixed, arena, max_rows * spec->n_heads, l->kv_rank, layouts);
    latent->problems = moe_arena_take(arena, spec->n_heads, sizeof *latent->problems);
}

/* Projects down: the latent vector with the shared key, and the queries or their own latent vector. */
static void project_down(struct moe_worker *worker, struct moe_session *s,
                         const struct moe_layer_weights *w) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_attention *a = &s->attention;
    const struct moe_latent *l = &a->latent;
    bool q_rank = spec->latent.q_rank;
    const struct moe_problem problems[] = {
        {.x = &s->normed, .n_rows = s->batch.n_rows, .w = &w->latent.kv_a.w, .y = l->kv, .ld_y = a->key_dim},
        {.x = &s->normed,
         .n_rows = s->batch.n_rows,
         .w = q_rank ? &w->latent.q_a.w : &w->q.w,
         .y = q_rank ? moe_activations_row(&l->q_a, 0) : l->q,
         .ld_y = q_rank ? l->q_a.ld : spec->n_heads * spec->head_dim},
    };
    moe_gemm_run(worker, &s->gemm, problems, 2);
    moe_worker_barrier(worker);
}

/* Norms the latent vectors of one row, rotates the shared key, and stores both. */
static void store_row(struct moe_session *s, size_t layer, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_latent_weights *w = &s->model->weights.layers[layer].latent;
    const struct moe_latent *l = &s->attention.latent;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t kv_rank = spec->latent.kv_rank;
    float *kv = l->kv + row * s->attention.key_dim;
    if (w->kv_a.bias) k->add(kv, w->kv_a.bias, s->attention.key_dim);
    k->rmsnorm(kv, kv, w->kv_norm, kv_rank, latent_eps);
    if (spec->latent.kv_scale != 1) k->scale(kv, kv, kv_rank, spec->latent.kv_scale);
    moe_attention_rotate(s, layer, kv + kv_rank, row);
    moe_cache_store(&s->cache, layer, s->batch.rows[row].sequence, 0, s->batch.rows[row].position, NULL, kv);
    if (!spec->latent.q_rank) return;
    float *q_a = moe_activations_row(&l->q_a, row);
    if (w->q_a.bias) k->add(q_a, w->q_a.bias, spec->latent.q_rank);
    k->rmsnorm(q_a, q_a, w->q_norm, spec->latent.q_rank, latent_eps);
    moe_activations_pack(&l->q_a, row, k);
}

/* Takes the queries of one row apart: the rotated part goes where attention reads it, the other is packed to
 * be brought into latent space. */
static void split_queries(struct moe_session *s, size_t layer, size_t row) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_latent_spec *dims = &spec->latent;
    const struct moe_attention *a = &s->attention;
    float scale = spec->latent.q_scale * moe_attention_growth(s, layer, row);
    for (size_t h = 0; h < spec->n_heads; h++) {
        size_t at = row * spec->n_heads + h;
        float *q = a->latent.q + at * spec->head_dim;
        if (scale != 1) s->gemm.kernels->scale(q, q, spec->head_dim, scale);
        memcpy(moe_activations_row(&a->latent.nope, at), q, dims->nope_dim * sizeof *q);
        moe_activations_pack(&a->latent.nope, at, s->gemm.kernels);
        moe_attention_rotate(s, layer, q + dims->nope_dim, row);
        memcpy(a->q + at * a->key_dim + dims->kv_rank, q + dims->nope_dim, dims->rope_dim * sizeof *q);
    }
}

/* One product per head, over rows that lie n_heads apart. */
static void list_heads(struct moe_session *s, const struct moe_activations *x, const struct moe_matrix *w,
                       float *y, size_t head_step, size_t ld_y) {
    size_t n_heads = s->model->spec.n_heads;
    for (size_t h = 0; h < n_heads; h++)
        s->attention.latent.problems[h] = (struct moe_problem){.x = x,
                                                               .first_row = h,
                                                               .row_step = n_heads,
                                                               .n_rows = s->batch.n_rows,
                                                               .w = &w[h],
                                                               .y = y + h * head_step,
                                                               .ld_y = ld_y};
}

static void run_heads(struct moe_worker *worker, struct moe_session *s) {
    moe_worker_barrier(worker);
    moe_gemm_run(worker, &s->gemm, s->attention.latent.problems, s->model->spec.n_heads);
    moe_worker_barrier(worker);
}

void moe_latent_project(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    const struct moe_attention *a = &s->attention;
    size_t n_rows = s->batch.n_rows, i;
    project_down(worker, s, w);
    while (moe_worker_next(worker, n_rows, &i)) store_row(s, layer, i);
    moe_worker_barrier(worker);
    if (spec->latent.q_rank) {
        const struct moe_problem up = {.x = &a->latent.q_a,
                                       .n_rows = n_rows,
                                       .w = &w->q.w,
                                       .y = a->latent.q,
                                       .ld_y = spec->n_heads * spec->head_dim};
        moe_gemm_run(worker, &s->gemm, &up, 1);
        moe_worker_barrier(worker);
    }
    if (worker->rank == 0)
        list_heads(s, &a->latent.nope, w->latent.absorb, a->q, a->key_dim, spec->n_heads * a->key_dim);
    while (moe_worker_next(worker, n_rows, &i)) split_queries(s, layer, i);
    run_heads(worker, s);
}

void moe_latent_expand(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_attention *a = &s->attention;
    const struct moe_latent_weights *w = &s->model->weights.layers[layer].latent;
    size_t i;
    if (worker->rank == 0)
        list_heads(s, &a->latent.mixed, w->expand, moe_activations_row(&a->out, 0), spec->latent.value_dim,
                   a->out.ld);
    while (moe_worker_next(worker, s->batch.n_rows * spec->n_heads, &i))
        moe_activations_pack(&a->latent.mixed, i, s->gemm.kernels);
    run_heads(worker, s);
    while (moe_worker_next(worker, s->batch.n_rows, &i)) moe_activations_pack(&a->out, i, s->gemm.kernels);
    moe_worker_barrier(worker);
}
