#include "models/binder.h"

static moe_status bind_grouped(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    size_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    MOE_TRY(moe_bind_linear(b, &w->q, MOE_T_Q, q, s->hidden_size, s->bias_qkv));
    MOE_TRY(moe_bind_linear(b, &w->k, MOE_T_K, kv, s->hidden_size, s->bias_qkv));
    MOE_TRY(moe_bind_linear(b, &w->v, MOE_T_V, kv, s->hidden_size, s->bias_qkv));
    if (s->qk_norm == MOE_QK_NORM_NONE) return MOE_OK;
    bool flat = s->qk_norm == MOE_QK_NORM_FLAT;
    MOE_TRY(moe_bind_vector(b, &w->q_norm, MOE_T_Q_NORM, NULL, flat ? q : s->head_dim));
    return moe_bind_vector(b, &w->k_norm, MOE_T_K_NORM, NULL, flat ? kv : s->head_dim);
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
    if (s->family->sinks) MOE_TRY(moe_bind_vector(b, &w->sinks, MOE_T_SINKS, NULL, s->n_heads));
    return moe_bind_linear(b, &w->o, MOE_T_O, s->hidden_size, s->n_heads * moe_spec_value_dim(s), s->bias_o);
}
