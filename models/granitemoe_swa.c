/* Granite MoE with windows (transformers: GraniteMoeSWAForCausalLM): granitemoeshared, three of four layers
 * sliding, an attention sink in every layer, and a RoPE theta of its own for each, or none. */
#include "models/family.h"

const struct moe_family moe_family_granitemoe_swa = {
    .model_type = "granitemoe_swa",
    .n_experts = {"num_local_experts", 8},
    .top_k = {"num_experts_per_tok", 2},
    .expert_width = {"intermediate_size", 11008},
    .shared_width = {"shared_intermediate_size", 0},
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .window = {.rule = MOE_WINDOW_PERIOD, .size = 128, .period = {NULL, 4}},
    .embed_scale = {"embedding_multiplier", 1},
    .residual_scale = {"residual_multiplier", 1},
    .logits_divisor = {"logits_scaling", 1},
    .score_scale = {"attention_multiplier", 1},
    .sinks = MOE_SINKS_ALL,
    .rope = {.absent = {.theta = 1e4}, .layers = MOE_ROPE_BY_THETA},
    .router = {.score = MOE_SCORE_CHOSEN_SOFTMAX},
    .shared = MOE_SHARED_PLAIN,
    .tensor = {MOE_GRANITE_TENSORS, MOE_GRANITE_SHARED_TENSORS},
};
