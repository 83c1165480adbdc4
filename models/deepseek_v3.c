/* DeepSeek-V3 and R1, Moonlight, Kimi-K2 (transformers: DeepseekV3ForCausalLM): latent attention, sigmoid
 * routing with a correction bias within the best groups. Multi-token prediction layers, from
 * num_hidden_layers on, are not used. */
#include "models/family.h"

const struct moe_family moe_family_deepseek_v3 = {
    .model_type = "deepseek_v3",
    .also = "kimi_k2",
    .n_experts = {"n_routed_experts", 256},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 2048},
    .dense_width = {"intermediate_size", 18432},
    .n_shared = {"n_shared_experts", 1},
    .latent = {.q_lora_rank = 1536,
               .kv_lora_rank = 512,
               .qk_nope_head_dim = 128,
               .qk_rope_head_dim = 64,
               .v_head_dim = 128},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .rope = {.absent = {.theta = 1e4}, .interleaved = {"rope_interleave", true}},
    .attention = MOE_ATTENTION_LATENT,
    .router = MOE_DEEPSEEK_V3_ROUTER(8, 4, 2.5),
    .shared = MOE_SHARED_PLAIN,
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 3},
};
