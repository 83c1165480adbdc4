/* Granite 3 MoE (transformers: GraniteMoeForCausalLM): four multipliers, of embeddings, what blocks add,
 * scores and logits; softmax over the chosen experts. */
#include "models/family.h"

const struct moe_family moe_family_granitemoe = {
    .model_type = "granitemoe",
    .n_experts = {"num_local_experts", 8},
    .top_k = {"num_experts_per_tok", 2},
    .expert_width = {"intermediate_size", 11008},
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .embed_scale = {"embedding_multiplier", 1},
    .residual_scale = {"residual_multiplier", 1},
    .logits_divisor = {"logits_scaling", 1},
    .score_scale = {"attention_multiplier", 1},
    .rope = {.absent = {.theta = 1e4}},
    .router = {.score = MOE_SCORE_CHOSEN_SOFTMAX},
    .tensor = {MOE_GRANITE_TENSORS},
};
