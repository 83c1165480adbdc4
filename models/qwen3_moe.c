/* Qwen3-MoE (transformers: Qwen3MoeForCausalLM): RMSNorm per head on queries and keys, no shared expert. */
#include "models/family.h"

const struct moe_family moe_family_qwen3_moe = {
    .model_type = "qwen3_moe",
    .n_experts = {"num_experts", 128},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 768},
    .dense_width = {"intermediate_size", 6144},
    .n_kv_heads = {"num_key_value_heads", 4},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .rope = {.absent = {.theta = 1e4}},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .window = {.rule = MOE_WINDOW_IF_USED, .size = 4096},
    .router = {.renorm = {"norm_topk_prob", false}},
    .dense = MOE_DENSE_BY_STEP,
};
