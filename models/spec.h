#ifndef MOE_MODELS_SPEC_H
#define MOE_MODELS_SPEC_H
/* A family and a config.json resolved into plain numbers: all that the weights and the pass need to know. */

#include "loader/json.h"
#include "models/family.h"
#include "models/quantization.h"
#include "models/rope_spec.h"

struct moe_layer_spec {
    bool dense;    /* a dense FFN of width dense_width instead of experts */
    size_t window; /* positions seen, itself included; 0: all before */
};

/* Latent attention. A query head has nope_dim dimensions, then rope_dim rotated ones; what is cached of a
 * position is a latent vector of kv_rank, then a key of rope_dim that all heads share. */
struct moe_latent_spec {
    size_t q_rank; /* 0: queries are projected at once */
    size_t kv_rank, nope_dim, rope_dim, value_dim;
};

/* Scores to weights: see struct moe_router_family. */
struct moe_router_spec {
    size_t n_groups, top_groups; /* n_groups 1: no grouping */
    bool renorm;
    float sum_added, sum_min, scale;
    float closeness; /* of SPARSEMIXER: twice router_jitter_noise */
};

struct moe_spec {
    const struct moe_family *family;
    size_t hidden_size, n_layers, vocab_size, max_positions; /* max_positions 0: not stated */
    size_t n_heads, n_kv_heads, head_dim; /* latent: one kv head, head_dim = nope_dim + rope_dim */
    struct moe_latent_spec latent;        /* zero in grouped attention */
    float attention_scale;                /* of the dot products, before the softmax */
    size_t n_experts, top_k, expert_width, dense_width, shared_width; /* widths 0 where there is none */
    struct moe_router_spec router;
    float norm_eps, clip_qkv;         /* clip_qkv 0: none */
    float swiglu_alpha, swiglu_limit; /* of SWIGLU_CLAMPED */
    enum moe_qk_norm qk_norm;         /* never BY_KEY */
    bool rope_interleaved;
    bool bias_qkv, bias_o, bias_ffn, bias_experts, bias_head, tied;
    struct moe_rope_spec rope;
    struct moe_quantization quantization;
    struct moe_layer_spec *layers; /* [n_layers], owned */
};

/* Every number is checked: present or with the family's default, of its type, in range, consistent with the
 * others. MOE_E_UNSUPPORTED for a model_type or a value that the engine does not reproduce, with its reason.
 */
moe_status moe_spec_resolve(struct moe_spec *out, struct moe_json_value config, moe_error *err);
void moe_spec_free(struct moe_spec *spec);

/* Width of a head's output, and of all heads together: the input of o. */
static inline size_t moe_spec_value_dim(const struct moe_spec *s) {
    return s->latent.kv_rank ? s->latent.value_dim : s->head_dim;
}

#endif
