/* Mellum (transformers: MellumForCausalLM): Qwen3-MoE with windows and a RoPE for each type of layer.
 * Multi-token prediction is not used. */
#include "models/family.h"

const struct moe_family moe_family_mellum = {
    .model_type = "mellum",
    .n_experts = {"num_experts", 64},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 896},
    .dense_width = {"intermediate_size", 7168},
    .n_kv_heads = {"num_key_value_heads", 4},
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .window = {.rule = MOE_WINDOW_LISTED, .size = 1024},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {NULL, 0},
    .reads_mlp_layer_types = true,
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .rope = {.absent = {.partial = 1, .settings = "{\"rope_theta\": 5e5}"},
             .sliding = {.partial = 1, .settings = "{\"rope_theta\": 1e4}"},
             .layers = MOE_ROPE_BY_TYPE,
             .ignores_scaling = true},
    .router = {.renorm = {"norm_topk_prob", true}},
};
