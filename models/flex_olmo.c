/* FlexOlmo (transformers: FlexOlmoForCausalLM): attention and FFN read the residual stream itself, and what
 * they give is normed; OLMoE's flat norm of queries and keys. */
#include "models/family.h"

const struct moe_family moe_family_flex_olmo = {
    .model_type = "flex_olmo",
    .n_experts = {"num_experts", 7},
    .top_k = {"num_experts_per_tok", 5},
    .expert_width = {"intermediate_size", 11008},
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .block = MOE_BLOCK_POST,
    .qk_norm = MOE_QK_NORM_FLAT,
    .rope = {.absent = {.theta = 5e5}},
    .router = {.renorm = {"norm_topk_prob", false}},
    .tensor = {[MOE_T_FFN_OUT_NORM] = "model.layers.{L}.post_feedforward_layernorm.weight"},
};
