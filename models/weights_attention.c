#include "models/binder.h"

/* q, k and v from one matrix with the rows of all three. */
static moe_status bind_qkv(struct moe_binder *b, struct moe_layer_weights *w, size_t q, size_t k, size_t v) {
    struct moe_matrix all;
    MOE_TRY(moe_bind_matrix(b, &all, MOE_T_QKV, q + k + v, b->spec->hidden_size));
    w->q.w = moe_matrix_rows(&all, 0, q);
    w->k.w = moe_matrix_rows(&all, q, k);
    w->v.w = moe_matrix_rows(&all, q + k, v);
    return MOE_OK;
}

/* A gain of ones for queries and keys. */
static moe_status make_unit_norm(struct moe_binder *b, struct moe_layer_weights *w) {
    void *data;
    MOE_TRY(moe_binder_own(b, &data, b->spec->head_dim * sizeof(float)));
    float *gain = data;
    for (size_t i = 0; i < b->spec->head_dim; i++) gain[i] = 1;
    w->q_norm = w->k_norm = gain;
    return MOE_OK;
}

static moe_status bind_qk_norm(struct moe_binder *b, struct moe_layer_weights *w, size_t q, size_t k) {
    size_t dim = b->spec->head_dim;
    switch (b->spec->qk_norm) {
    case MOE_QK_NORM_NONE:
    case MOE_QK_NORM_BY_KEY:
        return MOE_OK;
    case MOE_QK_NORM_UNIT:
        return b->spec->layers[b->layer].unit_norm ? make_unit_norm(b, w) : MOE_OK;
    case MOE_QK_NORM_FLAT:
        break;
    case MOE_QK_NORM_PER_HEAD:
    case MOE_QK_NORM_AFTER_ROPE:
        q = k = dim;
        break;
    }
    MOE_TRY(moe_bind_vector(b, &w->q_norm, MOE_T_Q_NORM, NULL, q));
    return moe_bind_vector(b, &w->k_norm, MOE_T_K_NORM, NULL, k);
}

static moe_status bind_grouped(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    const struct moe_layer_spec *layer = &s->layers[b->layer];
    size_t q = layer->n_heads * s->head_dim, k = layer->n_kv_heads * s->head_dim,
           v = layer->n_kv_heads * s->value_dim;
    if (s->family->tensor[MOE_T_QKV]) {
        MOE_TRY(bind_qkv(b, w, q, k, v));
    } else {
        MOE_TRY(moe_bind_linear(b, &w->q, MOE_T_Q, q, s->hidden_size, s->bias_qkv));
        MOE_TRY(moe_bind_linear(b, &w->k, MOE_T_K, k, s->hidden_size, s->bias_qkv));
        MOE_TRY(moe_bind_linear(b, &w->v, MOE_T_V, v, s->hidden_size, s->bias_qkv));
    }
    if (s->gate_dim)
        MOE_TRY(
            moe_bind_matrix(b, &w->gate, MOE_T_OUTPUT_GATE, layer->n_heads * s->gate_dim, s->hidden_size));
    return bind_qk_norm(b, w, q, k);
}

/* The two halves of KV_B for each head: rows of keys, which are wanted transposed, then rows of values. */
static moe_status split_kv_b(struct moe_binder *b, struct moe_latent_weights *w) {
    const struct moe_spec *s = b->spec;
    const struct moe_latent_spec *l = &s->latent;
    size_t rows = l->nope_dim + l->value_dim;
    struct moe_matrix kv_b;
    MOE_TRY(moe_bind_matrix(b, &kv_b, MOE_T_KV_B, s->n_heads * rows, l->kv_rank));
    for (size_t h = 0; h < s->n_heads; h++) {
        const struct moe_matrix keys = moe_matrix_rows(&kv_b, h * rows, l->nope_dim);
        MOE_TRY(moe_bind_transposed(b, &w->absorb[h], &keys));
        w->expand[h] = moe_matrix_rows(&kv_b, h * rows + l->nope_dim, l->value_dim);
    }
    return MOE_OK;
}

static moe_status bind_latent(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    const struct moe_latent_spec *l = &s->latent;
    struct moe_latent_weights *latent = &w->latent;
    size_t q = s->n_heads * s->head_dim;
    void *matrices;
    if (l->q_rank) {
        MOE_TRY(moe_bind_linear(b, &latent->q_a, MOE_T_Q_A, l->q_rank, s->hidden_size, s->bias_qkv));
        MOE_TRY(moe_bind_vector(b, &latent->q_norm, MOE_T_Q_A_NORM, NULL, l->q_rank));
        MOE_TRY(moe_bind_linear(b, &w->q, MOE_T_Q_B, q, l->q_rank, false));
    } else {
        MOE_TRY(moe_bind_linear(b, &w->q, MOE_T_Q, q, s->hidden_size, false));
    }
    MOE_TRY(
        moe_bind_linear(b, &latent->kv_a, MOE_T_KV_A, l->kv_rank + l->rope_dim, s->hidden_size, s->bias_qkv));
    MOE_TRY(moe_bind_vector(b, &latent->kv_norm, MOE_T_KV_A_NORM, NULL, l->kv_rank));
    MOE_TRY(moe_binder_own(b, &matrices, 2 * s->n_heads * sizeof *latent->absorb));
    latent->absorb = matrices;
    latent->expand = latent->absorb + s->n_heads;
    if (!moe_binder_has(b, MOE_T_EMBED_Q)) return split_kv_b(b, latent);
    MOE_TRY(moe_bind_stack(b, latent->absorb, MOE_T_EMBED_Q, s->n_heads, l->kv_rank, l->nope_dim));
    return moe_bind_stack(b, latent->expand, MOE_T_UNEMBED_OUT, s->n_heads, l->value_dim, l->kv_rank);
}

moe_status moe_bind_attention(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    switch (s->family->attention) {
    case MOE_ATTENTION_GROUPED:
        MOE_TRY(bind_grouped(b, w));
        break;
    case MOE_ATTENTION_LATENT:
        MOE_TRY(bind_latent(b, w));
        break;
    }
    size_t n_heads = s->layers[b->layer].n_heads;
    if (s->layers[b->layer].sinks) MOE_TRY(moe_bind_vector(b, &w->sinks, MOE_T_SINKS, NULL, n_heads));
    return moe_bind_linear(b, &w->o, MOE_T_O, s->hidden_size, n_heads * s->value_dim, s->bias_o);
}
