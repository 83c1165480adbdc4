#ifndef MOE_MODELS_SPEC_H
#define MOE_MODELS_SPEC_H
/* A family and a config.json resolved into plain numbers: all that the weights and the pass need to know. */

#include "loader/json.h"
#include "models/family.h"
#include "models/quantization.h"
#include "models/rope_spec.h"

/* No RoPE, for moe_layer_spec.rope. */
#define MOE_NO_ROPE SIZE_MAX

/* One attention and what follows it. */
struct moe_layer_spec {
    bool dense, routed; /* the FFNs it has: one of them, or in a SHORTCUT block both */
    bool slides;
    size_t window; /* positions seen, itself included; 0: all before */
    size_t chunk;  /* seen are only positions of the same chunk of that many; 0: all before */
    size_t rope;   /* index into moe_spec.ropes, or MOE_NO_ROPE */
    size_t n_heads, n_kv_heads, top_k;
    bool sinks, unit_norm, grows; /* unit_norm: of queries and keys, without a gain */
};

/* The most positions that a position sees, itself included; 0: any number. */
static inline size_t moe_layer_reach(const struct moe_layer_spec *layer) {
    return layer->window ? layer->window : layer->chunk;
}

/* The first position that `position` sees. */
static inline size_t moe_layer_first_seen(const struct moe_layer_spec *layer, size_t position) {
    if (layer->chunk) return position / layer->chunk * layer->chunk;
    return layer->window && position >= layer->window ? position - layer->window + 1 : 0;
}

/* Latent attention. A query head has nope_dim dimensions, then rope_dim rotated ones; what is cached of a
 * position is a latent vector of kv_rank, then a key of rope_dim that all heads share. */
struct moe_latent_spec {
    size_t q_rank; /* 0: queries are projected at once */
    size_t kv_rank, nope_dim, rope_dim, value_dim;
    float q_scale, kv_scale; /* on queries, on the normed latent vector */
};

/* Scores to weights: see struct moe_router_family. */
struct moe_router_spec {
    enum moe_score score;        /* never BY_KEY */
    size_t n_choices;            /* experts and identities */
    size_t n_groups, top_groups; /* n_groups 1: no grouping */
    bool renorm;
    float soft_cap; /* 0: none */
    float norm_power, sum_added, sum_min, scale;
    float closeness; /* of SPARSEMIXER: twice router_jitter_noise */
};

/* Queries at a position are multiplied by 1 + factor * ln(1 + floor((position + first) / length)). */
struct moe_growth_spec {
    float factor, length, first;
};

/* What runs one after the other in a pass. */
enum moe_op { MOE_OP_ATTENTION, MOE_OP_EXPERTS, MOE_OP_DENSE };

struct moe_step {
    size_t layer;
    enum moe_op op;
    bool norm_in, norm_out;  /* of what it reads, x; of what it gives */
    bool reads_same;         /* not x, but what the step before it read */
    bool is_kept, adds_kept; /* what it gives is not added to x yet; is added with what was kept */
    bool is_tapped;          /* the FFN of a layer, as the published model counts */
    bool ends_layer;         /* likewise */
};

struct moe_spec {
    const struct moe_family *family;
    size_t hidden_size, vocab_size, max_positions; /* max_positions 0: not stated */
    size_t n_layers;                               /* attentions, one after the other */
    size_t sublayers;                              /* of them in one layer of the published model */
    size_t n_heads, n_kv_heads, top_k;             /* the most of any layer; latent: one kv head */
    size_t head_dim, value_dim;    /* of keys and values; latent: head_dim = nope_dim + rope_dim */
    struct moe_latent_spec latent; /* zero in grouped attention */
    float attention_scale;         /* of the dot products, before the softmax */
    float value_scale;
    struct moe_growth_spec growth;
    size_t gate_dim; /* factors per head of the output gate; 0: no gate */
    size_t n_experts, expert_width, dense_width, shared_width; /* widths 0 where there is none */
    float shared_scale;                                        /* on routed and shared together */
    struct moe_router_spec router;
    enum moe_norm_kind norm;  /* never BY_KEY */
    float norm_eps, clip_qkv; /* clip_qkv 0: none */
    float embed_scale, residual_scale, logits_scale;
    float swiglu_alpha, swiglu_limit; /* of SWIGLU_CLAMPED */
    enum moe_qk_norm qk_norm;         /* never BY_KEY */
    bool rope_interleaved;
    bool bias_qkv, bias_o, bias_ffn, bias_experts, bias_head, tied;
    size_t n_ropes;
    struct moe_rope_spec *ropes; /* [n_ropes], owned */
    struct moe_quantization quantization;
    struct moe_layer_spec *layers; /* [n_layers], owned */
    size_t n_steps;
    struct moe_step *steps; /* [n_steps], owned */
    const char *prefix;     /* before the name of every tensor */
};

/* Every number is checked: present or with the family's default, of its type, in range, consistent with the
 * others. MOE_E_UNSUPPORTED for a model_type or a value that the engine does not reproduce, with its reason.
 */
moe_status moe_spec_resolve(struct moe_spec *out, struct moe_json_value config, moe_error *err);
void moe_spec_free(struct moe_spec *spec);

/* Where config.json speaks of the language model: in text_config, if it is of a model of more than text that
 * the engine knows the text part of; else config itself. */
struct moe_json_value moe_spec_text_config(struct moe_json_value config);

#endif
