/* OLMoE (transformers: OlmoeForCausalLM): flat RMSNorm over all heads of q and of k, then an optional clamp
 * of q, k, v. */
#include "models/family.h"

const struct moe_family moe_family_olmoe = {
    .model_type = "olmoe",
    .n_experts = {"num_experts", 64},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"intermediate_size", 2048},
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .rope = {.absent = {.theta = 1e4}},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .clip_qkv = "clip_qkv",
    .qk_norm = MOE_QK_NORM_FLAT,
    .router = {.renorm = {"norm_topk_prob", false}},
};
