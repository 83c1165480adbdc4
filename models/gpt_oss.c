/* gpt-oss (transformers: GptOssForCausalLM): attention sinks, every other layer with a window, clamped
 * SwiGLU, biases everywhere; YaRN where config.json says nothing of RoPE. */
#include "models/family.h"

const struct moe_family moe_family_gpt_oss = {
    .model_type = "gpt_oss",
    .n_experts = {"num_local_experts", 128},
    .top_k = {"num_experts_per_tok", 4},
    .expert_width = {"intermediate_size", 2880},
    .n_kv_heads = {"num_key_value_heads", 8},
    .head_dim = 64,
    .bias_qkv = {"attention_bias", true},
    .bias_o = {"attention_bias", true},
    .bias_experts = {.absent = true},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .rope = {.absent = {.theta = 1.5e5,
                        .settings =
                            "{\"rope_type\": \"yarn\", \"factor\": 32, \"beta_fast\": 32, \"beta_slow\": 1, "
                            "\"truncate\": false, \"original_max_position_embeddings\": 4096}"}},
    .sinks = MOE_SINKS_ALL,
    .window = {.rule = MOE_WINDOW_PERIOD, .size = 128, .period = {NULL, 2}, .full_at = 1},
    .router = {.score = MOE_SCORE_CHOSEN_SOFTMAX, .bias = true},
    .activation = MOE_ACT_SWIGLU_CLAMPED,
    .fused = MOE_FUSED_INTERLEAVED,
    .tensor =
        {
            [MOE_T_ROUTER] = "model.layers.{L}.mlp.router.weight",
            [MOE_T_STACKED_GATE] = "model.layers.{L}.mlp.experts.gate_proj.weight",
            [MOE_T_STACKED_UP] = "model.layers.{L}.mlp.experts.up_proj.weight",
            [MOE_T_STACKED_DOWN] = "model.layers.{L}.mlp.experts.down_proj.weight",
        },
};
