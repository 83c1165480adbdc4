#ifndef MOE_MODELS_FAMILY_H
#define MOE_MODELS_FAMILY_H
/* A model family is data: on each axis in which families differ, one value. No function, no code of its own.
 * A new family is models/<model_type>.c and a line in families.def; a new value of an axis is a line in its
 * enum and one case in the one switch that reads it (named beside the enum). The first value of each axis is
 * what most families have. Every family shares: a residual stream to which each layer adds causal attention
 * and gated FFNs, of which some are routed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A key of config.json: "a.b" is member b of member a; of "a|b" it is the first that is there and not null.
 */
typedef const char *moe_key;

/* A key that holds an integer; `absent` is its value when it is missing, 0: it is required. key NULL: the
 * value is always `absent`. */
struct moe_int_key {
    moe_key key;
    int64_t absent;
};

/* A key that holds a boolean; key NULL: the value is always `absent`. */
struct moe_bool_key {
    moe_key key;
    bool absent;
};

/* A key that holds a number; key NULL: the value is always `absent`. */
struct moe_real_key {
    moe_key key;
    double absent;
};

/* ---- the layer ---------------------------------------------------------------------------------------- */

/* The norms of the residual stream and at the end (engine/norm.c). LAYER: LayerNorm with a bias.
 * LAYER_NO_BIAS: without one. BY_KEY: RMS if rms_norm_eps is a number, else LAYER_NO_BIAS with layer_norm_eps
 * (models/spec.c). */
enum moe_norm_kind { MOE_NORM_RMS, MOE_NORM_LAYER, MOE_NORM_LAYER_NO_BIAS, MOE_NORM_BY_KEY };

/* How attention and FFN meet the residual stream x (models/spec_steps.c).
 * PRE:      x += f(norm(x)), for attention, then for the FFN.
 * POST:     x += norm(f(x)).
 * SANDWICH: x += norm(f(norm(x))).
 * PARALLEL: h = norm(x), x += attention(h) + ffn(h).
 * SHORTCUT: two attentions a and dense FFNs d, and one routed FFN m (Cai et al. 2024): x += a0(norm(x));
 *           h = norm(x); x += d0(h); x += a1(norm(x)); x += d1(norm(x)) + m(h). The pass counts it as two
 *           layers. */
enum moe_block { MOE_BLOCK_PRE, MOE_BLOCK_POST, MOE_BLOCK_SANDWICH, MOE_BLOCK_PARALLEL, MOE_BLOCK_SHORTCUT };

/* Layers in which a position does not see all before it (models/spec_layers.c): in sliding layers the last
 * `sliding_window`, itself included; in chunked ones those of its own chunk of attention_chunk_size.
 * Where there is a period, a layer N is full if (N - full_at) is a multiple of it.
 * NON_NULL: all slide, if sliding_window is a number. IF_USED: all, if use_sliding_window, unless
 * sliding_window is null. EVEN_BELOW: the even ones below max_window_layers, if use_sliding_window.
 * FROM_LAYER: those from max_window_layers on, unless sliding_window is null. PERIOD: all but the full ones.
 * PERIOD_AFTER_DENSE: likewise, the period counted from the first layer that is not dense by
 * first_k_dense_replace; those before it have period prefix_dense_sliding_window_pattern. LISTED: none.
 * CHUNKED: those with RoPE, unless attention_chunk_size is null. But for the first three, a layer_types in
 * config.json takes the place of the rule. */
enum moe_window {
    MOE_WINDOW_NEVER,
    MOE_WINDOW_NON_NULL,
    MOE_WINDOW_IF_USED,
    MOE_WINDOW_EVEN_BELOW,
    MOE_WINDOW_FROM_LAYER,
    MOE_WINDOW_PERIOD,
    MOE_WINDOW_PERIOD_AFTER_DENSE,
    MOE_WINDOW_LISTED,
    MOE_WINDOW_CHUNKED
};

struct moe_window_family {
    enum moe_window rule;
    int64_t size;              /* sliding_window when absent */
    bool reads_size_before;    /* sliding_window_size, which does not count the position itself */
    struct moe_int_key period; /* of PERIOD */
    int64_t full_at, n_full;   /* of PERIOD: see above; the first n_full are full as well */
    bool last_full;            /* and the last */
};

/* Layers with a dense FFN instead of experts (models/spec_layers.c). BY_STEP: layer N is a MoE layer if it is
 * not in mlp_only_layers (absent: the first `first`) and (N + 1) % decoder_sparse_step == 0. FIRST: the first
 * `first` are dense. FIRST_AND_STEP: and those whose N is not a multiple of moe_layer_freq. INTERVAL: layer N
 * is a MoE layer if moe_layer_start_index <= N <= moe_layer_end_index (-1: the last) and (N + 1) %
 * moe_layer_interval == 0. LISTED: if it is in moe_layers, absent: if (N + 1) % interleave_moe_layer_step ==
 * 0. ALSO: every layer has a dense FFN, the even ones of the pass experts as well. */
enum moe_dense {
    MOE_DENSE_NEVER,
    MOE_DENSE_BY_STEP,
    MOE_DENSE_FIRST,
    MOE_DENSE_FIRST_AND_STEP,
    MOE_DENSE_INTERVAL,
    MOE_DENSE_LISTED,
    MOE_DENSE_ALSO
};

/* ---- attention ---------------------------------------------------------------------------------------- */

/* GROUPED: queries share kv heads (Ainslie et al. 2023). LATENT: multi-head latent attention (DeepSeek-V2,
 * 2024): keys and values are projections of one cached vector (engine/attention.c). */
enum moe_attention_kind { MOE_ATTENTION_GROUPED, MOE_ATTENTION_LATENT };

/* RMSNorm of queries and keys (engine/grouped.c). PER_HEAD: gain [head_dim], each head alone, before RoPE.
 * BY_KEY: PER_HEAD if use_qk_norm is true, else NONE (models/spec_attention.c). FLAT: gain [n_heads *
 * head_dim], over all heads at once. AFTER_ROPE: PER_HEAD, but rotated first. UNIT: each head alone after
 * RoPE, without a gain, in layers with RoPE, unless use_qk_norm is false. */
enum moe_qk_norm {
    MOE_QK_NORM_NONE,
    MOE_QK_NORM_PER_HEAD,
    MOE_QK_NORM_BY_KEY,
    MOE_QK_NORM_FLAT,
    MOE_QK_NORM_AFTER_ROPE,
    MOE_QK_NORM_UNIT
};

/* A learned score per head that takes its share of the softmax and has no value (models/spec_layers.c).
 * SLIDING: in sliding layers. */
enum moe_sinks { MOE_SINKS_NONE, MOE_SINKS_ALL, MOE_SINKS_SLIDING };

/* What the output of the heads is multiplied with before o (engine/grouped.c): a function of OUTPUT_GATE
 * times the layer's normed input. SIGMOID: one factor per dimension. SOFTPLUS: one factor per head if
 * `gating` is true or "per-head", else one per dimension. */
enum moe_output_gate { MOE_GATE_NONE, MOE_GATE_SIGMOID, MOE_GATE_SOFTPLUS };

/* Queries grow with their position, so that attention stays sharp over a long context: q *= 1 + a * ln(1 +
 * floor((position + first) / b)) (models/spec_attention.c). NO_ROPE: in layers without RoPE, a attn_scale,
 * b floor_scale, first 1, unless attn_temperature_tuning is false. ALL: in all, a llama_4_scaling_beta and
 * b original_max_position_embeddings of the RoPE settings, first 0. */
enum moe_query_growth { MOE_GROWTH_NONE, MOE_GROWTH_NO_ROPE, MOE_GROWTH_ALL };

/* Layers with RoPE, and with which (models/spec_rope.c). SLIDING: the sliding ones alone. SLIDING_OR_DENSE:
 * and the dense ones if prefix_dense_sliding_window_pattern is 1. LISTED: those with a 1 in no_rope_layers;
 * absent: if (N + 1) % no_rope_layer_interval != 0. BY_TYPE: all, full layers with rope_parameters.
 * full_attention, sliding ones with rope_parameters.sliding_attention. BY_THETA: theta of layer N is
 * layer_rope_theta[N], 0: none. */
enum moe_rope_layers {
    MOE_ROPE_ALL,
    MOE_ROPE_SLIDING,
    MOE_ROPE_SLIDING_OR_DENSE,
    MOE_ROPE_LISTED,
    MOE_ROPE_BY_TYPE,
    MOE_ROPE_BY_THETA
};

/* What stands for what config.json does not say of RoPE. */
struct moe_rope_default {
    double theta, partial; /* partial 0: 1, and type default ignores partial_rotary_factor */
    const char *settings;  /* JSON that stands for all settings; NULL: type default. Of BY_TYPE: not NULL */
};

struct moe_rope_family {
    struct moe_rope_default absent;
    struct moe_rope_default sliding; /* of BY_TYPE: of sliding layers, `absent` being of full ones */
    /* of a rotated width 2n, dimensions 2i and 2i + 1 form a pair, else i and i + n */
    struct moe_bool_key interleaved;
    enum moe_rope_layers layers;
    bool mscale;          /* short_mscale and long_mscale in place of the attention factor */
    bool reads_width;     /* rotary_dim, where there is no partial_rotary_factor */
    bool reads_alpha;     /* type dynamic with an `alpha` stretches theta once and for all */
    bool ignores_scaling; /* rope_scaling: settings are rope_parameters alone */
    bool ignores_partial; /* partial_rotary_factor, which says what other keys do */
};

/* Widths of latent attention when config.json does not state them. */
struct moe_latent_family {
    int64_t q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
    bool always_q_rank;    /* q_lora_rank is never null */
    bool head_dim_is_rope; /* head_dim says qk_rope_head_dim once more */
    bool rescales;         /* queries by sqrt(hidden / q rank), the latent vector by sqrt(hidden / kv rank) */
};

/* ---- experts ------------------------------------------------------------------------------------------ */

/* What the router's logits become (engine/router.c). SOFTMAX and SIGMOID: of all experts, before the choice.
 * CHOSEN_SOFTMAX: softmax of the chosen alone. CHOSEN_SIGMOID: the choice is by the logits. BY_KEY: the
 * latter two by expert_selection_fn (models/spec_ffn.c). SPARSEMIXER (Liu et al. 2024): two experts, each
 * with the softmax of what is close to it; router_jitter_noise says how close, and two is top_k whatever its
 * key says. */
enum moe_score {
    MOE_SCORE_SOFTMAX,
    MOE_SCORE_SIGMOID,
    MOE_SCORE_CHOSEN_SOFTMAX,
    MOE_SCORE_CHOSEN_SIGMOID,
    MOE_SCORE_BY_KEY,
    MOE_SCORE_SPARSEMIXER
};

/* Experts are chosen from the best topk_group of n_group groups (engine/router.c). BY_METHOD: the best by
 * their largest score, if topk_method is group_limited_greedy, else no groups (models/spec_ffn.c). TOP_2_SUM:
 * by the sum of their two largest. */
enum moe_grouping { MOE_GROUPS_NONE, MOE_GROUPS_BY_METHOD, MOE_GROUPS_TOP_2_SUM };

/* A learned bias on the scores, tensor CORRECTION, for the choice alone (engine/router.c). VECTOR: of shape
 * [n_experts]. ROW: [1, n_experts]. OPTIONAL: VECTOR, and may be missing. */
enum moe_correction {
    MOE_CORRECTION_NONE,
    MOE_CORRECTION_VECTOR,
    MOE_CORRECTION_ROW,
    MOE_CORRECTION_OPTIONAL
};

/* Scores to weights: the chosen scores, divided by max(sum + sum_added, sum_min) if `renorm`, times scale. */
struct moe_router_family {
    enum moe_score score;
    enum moe_grouping grouping;
    struct moe_int_key n_groups, top_groups; /* where there is a grouping */
    bool bias;                               /* added to the logits: ROUTER with .bias */
    struct moe_real_key soft_cap;            /* c: logits are c * tanh(logits / c); 0: as they are */
    enum moe_correction correction;
    struct moe_bool_key renorm;
    moe_key norm_power; /* p: the sum is the p-th root of the sum of p-th powers; null: no division */
    double sum_added;
    struct moe_real_key sum_min, scale; /* scale.absent 0: no scale */
    struct moe_int_key n_identity;      /* further choices, which give back what they read */
    bool weighs_input;                  /* the weight multiplies what an expert reads, not what it gives */
};

/* A shared expert beside the routed ones (engine/experts.c). PLAIN: added as it is. SIGMOID: scaled by
 * sigmoid of a learned score. AVERAGE: half of the sum, unless shared_expert_combination_strategy is "sum".
 */
enum moe_shared { MOE_SHARED_NONE, MOE_SHARED_PLAIN, MOE_SHARED_SIGMOID, MOE_SHARED_AVERAGE };

/* Between the gate and up products and the down product (engine/experts.c). SWIGLU: silu(gate) * up.
 * SWIGLU_CLAMPED: (clamp(up) + 1) * gate' * sigmoid(alpha * gate'), gate' = min(gate, limit). */
enum moe_activation { MOE_ACT_SWIGLU, MOE_ACT_SWIGLU_CLAMPED };

/* How the matrices of all experts lie in one tensor (models/weights_ffn.c). HALVES: FUSED_GATE_UP has rows of
 * gate, then of up. INTERLEAVED: its rows alternate, and unquantised tensors are input-major ([in, out],
 * y = x W^T). COLUMNS: HALVES, and input-major. ROWS: gate, up and down apart, each a matrix with the rows
 * of all experts one after the other, down input-major. */
enum moe_fused { MOE_FUSED_HALVES, MOE_FUSED_INTERLEAVED, MOE_FUSED_COLUMNS, MOE_FUSED_ROWS };

/* ---- the family --------------------------------------------------------------------------------------- */

/* num_key_value_heads absent: as many as num_attention_heads, as null means in every family. */
enum { MOE_AS_MANY_AS_HEADS = -1 };

enum moe_tensor_role {
#define MOE_TENSOR(role, name) MOE_T_##role,
#include "models/tensors.def"
#undef MOE_TENSOR
    MOE_T_COUNT
};

struct moe_family {
    const char *model_type, *also; /* also: another model_type that means the same */
    /* a model_type of more than text, whose config.json has this family's under text_config, and before the
     * names of whose tensors stands `prefix`; part_tied: a key beside text_config in place of `tied` */
    const char *part_of, *prefix;
    struct moe_bool_key part_tied;
    /* sizes of config.json; defaults as in the configuration class of transformers */
    moe_key hidden_size, n_layers, n_heads, max_positions, hidden_act; /* NULL: the usual key */
    struct moe_int_key n_experts, top_k, expert_width, dense_width;
    /* one of them has a key: n_shared counts expert widths. 0: no shared expert, if that is what absence
     * means */
    struct moe_int_key shared_width, n_shared;
    struct moe_int_key n_kv_heads;
    int64_t head_dim;            /* when absent; 0: hidden_size / num_attention_heads */
    int64_t value_dim;           /* v_head_dim when absent; 0: values are as wide as keys */
    bool top_k_may_be_list;      /* of one number per layer */
    moe_key heads_by_layer;      /* a list of numbers of heads, in place of num_attention_heads */
    int64_t kv_heads_if_sliding; /* times as many kv heads in sliding layers; 0: 1 */
    struct moe_latent_family latent;
    /* biases: of q, k, v (latent: of their down-projections), of o, of dense and shared FFNs, of the experts,
     * of the head */
    struct moe_bool_key bias_qkv, bias_o, bias_ffn, bias_experts, bias_head, tied;
    /* the layer */
    enum moe_norm_kind norm;
    struct moe_real_key norm_eps;
    enum moe_block block;
    struct moe_window_family window;
    enum moe_dense dense;
    struct moe_int_key dense_first; /* of FIRST and BY_STEP */
    bool reads_mlp_layer_types;     /* which takes the place of `dense` */
    /* factors; key NULL: 1 */
    struct moe_real_key embed_scale, residual_scale, logits_scale, logits_divisor;
    struct moe_bool_key embed_by_width; /* embeddings are multiplied by sqrt(hidden_size) */
    /* attention */
    enum moe_attention_kind attention;
    enum moe_qk_norm qk_norm;
    enum moe_sinks sinks;
    enum moe_output_gate gate;
    enum moe_query_growth growth;
    struct moe_real_key score_scale; /* of the dot products; key NULL: 1 / sqrt(head_dim) */
    struct moe_real_key value_scale; /* of the values; key NULL: 1 */
    moe_key clip_qkv;                /* q, k and v are clamped after the norm, before RoPE */
    struct moe_rope_family rope;
    /* experts */
    struct moe_router_family router;
    enum moe_shared shared;
    bool norms_experts; /* the sum of routed and shared experts is normed */
    enum moe_activation activation;
    enum moe_fused fused;
    /* would change the arithmetic, if true; transformers does without as well */
    struct moe_bool_key refused_if_true;
    /* names that differ from tensors.def */
    const char *tensor[MOE_T_COUNT];
};

/* Names of router and experts that Mixtral brought, for .tensor. */
#define MOE_BLOCK_SPARSE_TENSORS                                                                             \
    [MOE_T_ROUTER] = "model.layers.{L}.{block_sparse_moe.gate,mlp.gate,mlp.router}.weight",                  \
    [MOE_T_EXPERT_GATE] = "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight",                         \
    [MOE_T_EXPERT_UP] = "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight",                           \
    [MOE_T_EXPERT_DOWN] = "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight",                         \
    [MOE_T_STACKED_GATE] = "model.layers.{L}.block_sparse_moe.switch_mlp.gate_proj.weight",                  \
    [MOE_T_STACKED_UP] = "model.layers.{L}.block_sparse_moe.switch_mlp.up_proj.weight",                      \
    [MOE_T_STACKED_DOWN] = "model.layers.{L}.block_sparse_moe.switch_mlp.down_proj.weight"

/* DeepSeek-V3's router, which later families took over; groups, kept, factor: when absent. */
#define MOE_DEEPSEEK_V3_ROUTER(groups, kept, factor)                                                         \
    {                                                                                                        \
        .score = MOE_SCORE_SIGMOID, .grouping = MOE_GROUPS_TOP_2_SUM, .n_groups = {"n_group", groups},       \
        .top_groups = {"topk_group", kept}, .correction = MOE_CORRECTION_VECTOR,                             \
        .renorm = {"norm_topk_prob", true}, .sum_added = 1e-20, .scale = {"routed_scaling_factor", factor},  \
    }

#define MOE_FAMILY(id) extern const struct moe_family moe_family_##id;
#include "models/families.def"
#undef MOE_FAMILY

/* The family of a model_type; NULL if the engine does not reproduce it, then *reason (may be NULL) is what it
 * lacks. */
const struct moe_family *moe_family_find(const char *model_type, const char **reason);

/* The pattern of a role's name, with {L}, {S}, {E} and alternatives {a,b} in it (models/tensors.def). */
const char *moe_family_tensor(const struct moe_family *family, enum moe_tensor_role role);

#endif
