/* GLM-4.5, 4.6, 4.7 (transformers: Glm4MoeForCausalLM): RoPE on half of each head, sigmoid routing with a
 * correction bias. Multi-token prediction layers, from num_hidden_layers on, are not used. */
#include "models/family.h"

const struct moe_family moe_family_glm4_moe = {
    .model_type = "glm4_moe",
    .n_experts = {"n_routed_experts", 128},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 1408},
    .dense_width = {"intermediate_size", 10944},
    .n_shared = {"n_shared_experts", 1},
    .n_kv_heads = {"num_key_value_heads", 8},
    .bias_qkv = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .rope = {.absent = {.theta = 1e4, .partial = 0.5}},
    .qk_norm = MOE_QK_NORM_BY_KEY,
    .router = MOE_DEEPSEEK_V3_ROUTER(1, 1, 1),
    .shared = MOE_SHARED_PLAIN,
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 1},
};
