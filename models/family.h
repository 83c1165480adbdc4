#ifndef MOE_MODELS_FAMILY_H
#define MOE_MODELS_FAMILY_H
/* A model family is data: on each axis in which families differ, one value. No function, no code of its own.
 * A new family is models/<model_type>.c and a line in families.def; a new value of an axis is a line in its
 * enum and one case in the one switch that reads it (named beside the enum). The first value of each axis is
 * what most families have. Every family shares: pre-norm blocks, causal attention, RoPE, gated FFNs. */

#include <stdbool.h>
#include <stdint.h>

/* The norm before attention and FFN and at the end (engine/norm.c). LAYER: LayerNorm with a bias. */
enum moe_norm_kind { MOE_NORM_RMS, MOE_NORM_LAYER };

/* GROUPED: queries share kv heads (Ainslie et al. 2023). LATENT: multi-head latent attention (DeepSeek-V2,
 * 2024): keys and values are projections of one cached vector (engine/attention.c). */
enum moe_attention_kind { MOE_ATTENTION_GROUPED, MOE_ATTENTION_LATENT };

/* RMSNorm of queries and keys after their projection, before RoPE (engine/grouped.c). PER_HEAD: gain
 * [head_dim], each head alone. BY_KEY: PER_HEAD if use_qk_norm is true, else NONE (models/spec_attention.c).
 * FLAT: gain [n_heads * head_dim], over all heads at once. */
enum moe_qk_norm { MOE_QK_NORM_NONE, MOE_QK_NORM_PER_HEAD, MOE_QK_NORM_BY_KEY, MOE_QK_NORM_FLAT };

/* Which dimensions RoPE rotates together, of a rotated width 2n (models/spec_attention.c). HALF: i and i + n.
 * INTERLEAVED: 2i and 2i + 1. BY_KEY: INTERLEAVED unless rope_interleave is false. */
enum moe_rope_pairs { MOE_ROPE_HALF, MOE_ROPE_INTERLEAVED, MOE_ROPE_BY_KEY };

/* Layers in which a position sees only the last `sliding_window`, itself included (models/spec_layers.c).
 * NON_NULL: all, if sliding_window is a number. IF_USED: all, if use_sliding_window, unless sliding_window is
 * null. EVEN_BELOW: the even ones below max_window_layers, if use_sliding_window. FROM_LAYER: those from
 * max_window_layers on, unless sliding_window is null. EVEN: the even ones. In the last three a layer_types
 * in config.json takes the place of the rule. */
enum moe_window {
    MOE_WINDOW_NEVER,
    MOE_WINDOW_NON_NULL,
    MOE_WINDOW_IF_USED,
    MOE_WINDOW_EVEN_BELOW,
    MOE_WINDOW_FROM_LAYER,
    MOE_WINDOW_EVEN
};

/* What the router's logits become (engine/router.c). SOFTMAX and SIGMOID: of all experts, before the choice.
 * CHOSEN_SOFTMAX: softmax of the chosen alone. SPARSEMIXER (Liu et al. 2024): two experts, each with the
 * softmax of what is close to it; router_jitter_noise says how close, and two is top_k whatever its key says.
 */
enum moe_score { MOE_SCORE_SOFTMAX, MOE_SCORE_SIGMOID, MOE_SCORE_CHOSEN_SOFTMAX, MOE_SCORE_SPARSEMIXER };

/* Experts are chosen from the best topk_group of n_group groups (engine/router.c). BY_METHOD: the best by
 * their largest score, if topk_method is group_limited_greedy, else no groups (models/spec_ffn.c). TOP_2_SUM:
 * by the sum of their two largest. */
enum moe_grouping { MOE_GROUPS_NONE, MOE_GROUPS_BY_METHOD, MOE_GROUPS_TOP_2_SUM };

/* A learned bias on the scores, tensor CORRECTION, for the choice alone (engine/router.c). VECTOR: of shape
 * [n_experts]. ROW: [1, n_experts]. */
enum moe_correction { MOE_CORRECTION_NONE, MOE_CORRECTION_VECTOR, MOE_CORRECTION_ROW };

/* A shared expert beside the routed ones (engine/experts.c). PLAIN: added as it is. SIGMOID: scaled by
 * sigmoid of a learned score. */
enum moe_shared { MOE_SHARED_NONE, MOE_SHARED_PLAIN, MOE_SHARED_SIGMOID };

/* Layers with a dense FFN instead of experts (models/spec_layers.c). BY_STEP: layer N is a MoE layer if it is
 * not in mlp_only_layers and (N + 1) % decoder_sparse_step == 0. FIRST: the first first_k_dense_replace.
 * INTERVAL: layer N is a MoE layer if moe_layer_start_index <= N <= moe_layer_end_index (-1: the last) and
 * (N + 1) % moe_layer_interval == 0. */
enum moe_dense { MOE_DENSE_NEVER, MOE_DENSE_BY_STEP, MOE_DENSE_FIRST, MOE_DENSE_INTERVAL };

/* Between the gate and up products and the down product (engine/experts.c). SWIGLU: silu(gate) * up.
 * SWIGLU_CLAMPED: (clamp(up) + 1) * gate' * sigmoid(alpha * gate'), gate' = min(gate, limit). */
enum moe_activation { MOE_ACT_SWIGLU, MOE_ACT_SWIGLU_CLAMPED };

/* How the two matrices of FUSED_GATE_UP lie in it (models/weights_ffn.c). HALVES: rows of gate, then of
 * up. INTERLEAVED: rows alternate, and unquantised tensors are input-major ([in, out], y = x W). */
enum moe_fused { MOE_FUSED_HALVES, MOE_FUSED_INTERLEAVED };

/* num_key_value_heads absent: as many as num_attention_heads, as null means in every family. */
enum { MOE_AS_MANY_AS_HEADS = -1 };

/* A key of config.json that holds an integer; `absent` is its value when it is missing, 0: it is required. */
struct moe_int_key {
    const char *key;
    int64_t absent;
};

/* A key that holds a boolean; key NULL: the value is always `absent`. */
struct moe_bool_key {
    const char *key;
    bool absent;
};

/* A key that holds a number; key NULL: the value is always `absent`. */
struct moe_real_key {
    const char *key;
    double absent;
};

enum moe_tensor_role {
#define MOE_TENSOR(role, name) MOE_T_##role,
#include "models/tensors.def"
#undef MOE_TENSOR
    MOE_T_COUNT
};

/* Scores to weights: the chosen scores, divided by max(sum + sum_added, sum_min) if `renorm`, times scale. */
struct moe_router_family {
    enum moe_score score;
    enum moe_grouping grouping;
    struct moe_int_key n_groups, top_groups; /* where there is a grouping */
    bool bias;                               /* added to the logits: ROUTER with .bias */
    enum moe_correction correction;
    struct moe_bool_key renorm;
    double sum_added;
    struct moe_real_key sum_min, scale; /* scale.absent 0: no scale */
};

/* Widths of latent attention when config.json does not state them. */
struct moe_latent_family {
    int64_t q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
};

struct moe_family {
    const char *model_type, *also; /* also: another model_type that means the same */
    /* config.json; defaults as in the configuration class of transformers */
    struct moe_int_key n_experts, top_k, expert_width, dense_width;
    struct moe_int_key shared_width, n_shared; /* one of them has a key: n_shared counts expert widths */
    struct moe_int_key n_kv_heads;
    int64_t head_dim; /* when absent; 0: hidden_size / num_attention_heads */
    struct moe_latent_family latent;
    int64_t n_dense_first; /* first_k_dense_replace when absent */
    int64_t window_size;   /* sliding_window when absent */
    /* biases: of q, k, v (latent: of their down-projections), of o, of dense and shared FFNs, of the experts,
     * of the head */
    struct moe_bool_key bias_qkv, bias_o, bias_ffn, bias_experts, bias_head, tied;
    double norm_eps;         /* when absent */
    double rope_theta;       /* when absent */
    double rope_partial;     /* partial_rotary_factor when absent; 0: 1, and type default ignores the key */
    const char *rope_absent; /* JSON of the rope settings when there are none; NULL: type default */
    bool rope_mscale;        /* short_mscale and long_mscale in place of the attention factor */
    bool clip_qkv;           /* reads clip_qkv: q, k and v are clamped after the norm, before RoPE */
    bool sinks; /* a learned score per head that takes its share of the softmax, and has no value */
    /* axes */
    enum moe_norm_kind norm;
    enum moe_attention_kind attention;
    enum moe_qk_norm qk_norm;
    enum moe_rope_pairs rope_pairs;
    enum moe_window window;
    struct moe_router_family router;
    enum moe_shared shared;
    enum moe_dense dense;
    enum moe_activation activation;
    enum moe_fused fused;
    /* names that differ from tensors.def */
    const char *tensor[MOE_T_COUNT];
};

/* Names of router and experts that Mixtral brought, for .tensor. */
#define MOE_BLOCK_SPARSE_TENSORS                                                                             \
    [MOE_T_ROUTER] = "model.layers.{L}.block_sparse_moe.gate.weight",                                        \
    [MOE_T_EXPERT_GATE] = "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight",                         \
    [MOE_T_EXPERT_UP] = "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight",                           \
    [MOE_T_EXPERT_DOWN] = "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight",                         \
    [MOE_T_STACKED_GATE] = "model.layers.{L}.block_sparse_moe.switch_mlp.gate_proj.weight",                  \
    [MOE_T_STACKED_UP] = "model.layers.{L}.block_sparse_moe.switch_mlp.up_proj.weight",                      \
    [MOE_T_STACKED_DOWN] = "model.layers.{L}.block_sparse_moe.switch_mlp.down_proj.weight"

#define MOE_FAMILY(id) extern const struct moe_family moe_family_##id;
#include "models/families.def"
#undef MOE_FAMILY

/* The family of a model_type; NULL if the engine does not reproduce it, then *reason (may be NULL) is what it
 * lacks. */
const struct moe_family *moe_family_find(const char *model_type, const char **reason);

/* The name pattern of a role, with {L} and {E} in it. */
const char *moe_family_tensor(const struct moe_family *family, enum moe_tensor_role role);

#endif
