/* Qwen2-MoE, Qwen1.5-MoE (transformers: Qwen2MoeForCausalLM): biases on q, k, v and a shared expert behind a
 * sigmoid. */
#include "models/family.h"

const struct moe_family moe_family_qwen2_moe = {
    .model_type = "qwen2_moe",
    .n_experts = {"num_experts", 60},
    .top_k = {"num_experts_per_tok", 4},
    .expert_width = {"moe_intermediate_size", 1408},
    .dense_width = {"intermediate_size", 5632},
    .shared_width = {"shared_expert_intermediate_size", 5632},
    .n_kv_heads = {"num_key_value_heads", 16},
    .bias_qkv = {"qkv_bias", true},
    .tied = {"tie_word_embeddings", false},
    .rope = {.absent = {.theta = 1e4}},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .window = {.rule = MOE_WINDOW_EVEN_BELOW, .size = 4096},
    .router = {.renorm = {"norm_topk_prob", false}},
    .shared = MOE_SHARED_SIGMOID,
    .dense = MOE_DENSE_BY_STEP,
    .tensor =
        {
            [MOE_T_SHARED_GATE] = "model.layers.{L}.mlp.shared_expert.gate_proj.weight",
            [MOE_T_SHARED_UP] = "model.layers.{L}.mlp.shared_expert.up_proj.weight",
            [MOE_T_SHARED_DOWN] = "model.layers.{L}.mlp.shared_expert.down_proj.weight",
        },
};
