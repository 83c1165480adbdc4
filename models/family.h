#ifndef MOE_MODELS_FAMILY_H
#define MOE_MODELS_FAMILY_H
/* A model family is data: on each axis in which families differ, one value. No function, no code of its own.
 * A new family is models/<model_type>.c and a line in families.def; a new value of an axis is a line in its
 * enum and one case in the one switch that reads it (named beside the enum). Every family shares: pre-norm
 * blocks with RMSNorm, grouped-query attention with half-split RoPE, SwiGLU. */

#include <stdbool.h>
#include <stdint.h>

/* RMSNorm of queries and keys after their projection, before RoPE (engine/attention.c). PER_HEAD: gain
 * [head_dim], each head alone. FLAT: gain [n_heads * head_dim], over all heads at once. */
enum moe_qk_norm { MOE_QK_NORM_NONE, MOE_QK_NORM_PER_HEAD, MOE_QK_NORM_FLAT };

/* Which layers see only the last `sliding_window` positions, themselves included (models/spec.c).
 * NON_NULL: all, if sliding_window is a number. IF_USED: all, if use_sliding_window as well.
 * EVEN_BELOW: if use_sliding_window, the even layers below max_window_layers, or as layer_types says. */
enum moe_window { MOE_WINDOW_NEVER, MOE_WINDOW_NON_NULL, MOE_WINDOW_IF_USED, MOE_WINDOW_EVEN_BELOW };

/* Whether the weights of the chosen experts are divided by their sum: BY_KEY reads norm_topk_prob
 * (models/spec.c). */
enum moe_renorm { MOE_RENORM_ALWAYS, MOE_RENORM_BY_KEY };

/* A shared expert beside the routed ones (engine/experts.c). SIGMOID: scaled by sigmoid of a learned score.
 */
enum moe_shared { MOE_SHARED_NONE, MOE_SHARED_SIGMOID };

/* Layers with a dense FFN instead of experts (models/spec.c). BY_STEP: layer N is a MoE layer if it is not in
 * mlp_only_layers and (N + 1) % decoder_sparse_step == 0. */
enum moe_dense { MOE_DENSE_NEVER, MOE_DENSE_BY_STEP };

/* num_key_value_heads absent: as many as num_attention_heads. */
enum { MOE_AS_MANY_AS_HEADS = -1 };

/* A key of config.json that holds a positive integer; `absent` is its value when it is missing, 0: it is
 * required. */
struct moe_int_key {
    const char *key;
    int64_t absent;
};

/* A key that holds a boolean; key NULL: the value is always `absent`. */
struct moe_bool_key {
    const char *key;
    bool absent;
};

enum moe_tensor_role {
#define MOE_TENSOR(role, name) MOE_T_##role,
#include "models/tensors.def"
#undef MOE_TENSOR
    MOE_T_COUNT
};

struct moe_family {
    const char *model_type;
    /* config.json; defaults as in the configuration class of transformers */
    struct moe_int_key n_experts, top_k, expert_width, dense_width, shared_width, n_kv_heads;
    struct moe_bool_key bias_qkv, bias_o; /* of the attention projections */
    double rope_theta, norm_eps;          /* when absent */
    bool clip_qkv; /* reads clip_qkv: q, k and v are clamped after the norm, before RoPE */
    /* axes */
    enum moe_qk_norm qk_norm;
    enum moe_window window;
    enum moe_renorm renorm;
    enum moe_shared shared;
    enum moe_dense dense;
    /* names that differ from tensors.def */
    const char *tensor[MOE_T_COUNT];
};

#define MOE_FAMILY(id) extern const struct moe_family moe_family_##id;
#include "models/families.def"
#undef MOE_FAMILY

/* The family of a model_type; NULL if the engine does not reproduce it, then *reason (may be NULL) is what it
 * lacks. */
const struct moe_family *moe_family_find(const char *model_type, const char **reason);

/* The name pattern of a role, with {L} and {E} in it. */
const char *moe_family_tensor(const struct moe_family *family, enum moe_tensor_role role);

#endif
