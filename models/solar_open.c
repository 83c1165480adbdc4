/* Solar Open (transformers: SolarOpenForCausalLM): Llama's attention with DeepSeek-V3's routing in every
 * layer. */
#include "models/family.h"

const struct moe_family moe_family_solar_open = {
    .model_type = "solar_open",
    .n_experts = {"n_routed_experts", 128},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 1280},
    .n_shared = {"n_shared_experts", 1},
    .n_kv_heads = {"num_key_value_heads", 8},
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .rope = {.absent = {.theta = 1e6}},
    .router = MOE_DEEPSEEK_V3_ROUTER(1, 1, 1),
    .shared = MOE_SHARED_PLAIN,
};
