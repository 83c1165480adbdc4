/* DeepSeek-V2 and V2-Lite (transformers: DeepseekV2ForCausalLM): latent attention, softmax routing that may
 * be limited to some groups of experts. norm_topk_prob is ignored, as transformers does. */
#include "models/family.h"

const struct moe_family moe_family_deepseek_v2 = {
    .model_type = "deepseek_v2",
    .n_experts = {"n_routed_experts", 64},
    .top_k = {"num_experts_per_tok", 0},
    .expert_width = {"moe_intermediate_size", 1407},
    .dense_width = {"intermediate_size", 11008},
    .n_shared = {"n_shared_experts", 2},
    .latent = {.q_lora_rank = 1536,
               .kv_lora_rank = 512,
               .qk_nope_head_dim = 128,
               .qk_rope_head_dim = 64,
               .v_head_dim = 128},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .bias_ffn = {"mlp_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .rope = {.absent = {.theta = 1e4}, .interleaved = {NULL, true}},
    .attention = MOE_ATTENTION_LATENT,
    .router = {.grouping = MOE_GROUPS_BY_METHOD,
               .n_groups = {"n_group", 0},
               .top_groups = {"topk_group", 0},
               .scale = {"routed_scaling_factor", 1}},
    .shared = MOE_SHARED_PLAIN,
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 0},
};
