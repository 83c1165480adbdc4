/* Phi-3.5-MoE (transformers: PhimoeForCausalLM): LayerNorm, sparsemixer routing, and a RoPE whose scale
 * changes where the context passes its original length. */
#include "models/family.h"

const struct moe_family moe_family_phimoe = {
    .model_type = "phimoe",
    .n_experts = {"num_local_experts", 16},
    .top_k = {"num_experts_per_tok", 2},
    .expert_width = {"intermediate_size", 6400},
    .n_kv_heads = {"num_key_value_heads", 8},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .bias_head = {"lm_head_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .rope = {.absent = {.theta = 1e6}, .mscale = true},
    .norm = MOE_NORM_LAYER,
    .window = {.rule = MOE_WINDOW_NON_NULL, .size = 4096},
    .router = {.score = MOE_SCORE_SPARSEMIXER},
    .tensor = {MOE_BLOCK_SPARSE_TENSORS},
};
