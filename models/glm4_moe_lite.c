/* GLM-4.7-Flash (transformers: Glm4MoeLiteForCausalLM): DeepSeek-V3's attention and routing. Multi-token
 * prediction layers are not used. */
#include "models/family.h"

const struct moe_family moe_family_glm4_moe_lite = {
    .model_type = "glm4_moe_lite",
    .n_experts = {"n_routed_experts", 64},
    .top_k = {"num_experts_per_tok", 4},
    .expert_width = {"moe_intermediate_size", 1536},
    .dense_width = {"intermediate_size", 10240},
    .n_shared = {"n_shared_experts", 1},
    .latent = {.q_lora_rank = 768,
               .kv_lora_rank = 512,
               .qk_nope_head_dim = 192,
               .qk_rope_head_dim = 64,
               .v_head_dim = 256,
               .head_dim_is_rope = true},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {NULL, 1},
    .reads_mlp_layer_types = true,
    .attention = MOE_ATTENTION_LATENT,
    .rope = {.absent = {.theta = 1e4, .partial = 1}, .interleaved = {"rope_interleave", true}},
    .router = MOE_DEEPSEEK_V3_ROUTER(1, 1, 1.8),
    .shared = MOE_SHARED_PLAIN,
};
