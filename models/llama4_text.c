/* Llama 4's text model (transformers: Llama4ForCausalLM): attention in chunks where there is RoPE, queries
 * that grow with their position where there is none, router weights on what the experts read. Of model_type
 * llama4 the text part. */
#include "models/family.h"

const struct moe_family moe_family_llama4_text = {
    .model_type = "llama4_text",
    .part_of = "llama4",
    .prefix = "language_model.",
    .n_experts = {"num_local_experts", 16},
    .top_k = {"num_experts_per_tok", 1},
    .expert_width = {"intermediate_size", 8192},
    .dense_width = {"intermediate_size_mlp", 16384},
    .shared_width = {"intermediate_size", 8192},
    .n_kv_heads = {"num_key_value_heads", 8},
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .window = {.rule = MOE_WINDOW_CHUNKED},
    .dense = MOE_DENSE_LISTED,
    .qk_norm = MOE_QK_NORM_UNIT,
    .growth = MOE_GROWTH_NO_ROPE,
    .rope = {.absent = {.theta = 5e5}, .interleaved = {NULL, true}, .layers = MOE_ROPE_LISTED},
    .router = {.score = MOE_SCORE_CHOSEN_SIGMOID, .weighs_input = true},
    .shared = MOE_SHARED_PLAIN,
    .fused = MOE_FUSED_COLUMNS,
    .tensor =
        {
            [MOE_T_DENSE_GATE] = "model.layers.{L}.feed_forward.gate_proj.weight",
            [MOE_T_DENSE_UP] = "model.layers.{L}.feed_forward.up_proj.weight",
            [MOE_T_DENSE_DOWN] = "model.layers.{L}.feed_forward.down_proj.weight",
            [MOE_T_ROUTER] = "model.layers.{L}.feed_forward.router.weight",
            [MOE_T_FUSED_GATE_UP] = "model.layers.{L}.feed_forward.experts.gate_up_proj",
            [MOE_T_FUSED_DOWN] = "model.layers.{L}.feed_forward.experts.down_proj",
            [MOE_T_EXPERT_GATE] = "model.layers.{L}.feed_forward.experts.{E}.gate_proj.weight",
            [MOE_T_EXPERT_UP] = "model.layers.{L}.feed_forward.experts.{E}.up_proj.weight",
            [MOE_T_EXPERT_DOWN] = "model.layers.{L}.feed_forward.experts.{E}.down_proj.weight",
            [MOE_T_STACKED_GATE] = "model.layers.{L}.feed_forward.switch_mlp.gate_proj.weight",
            [MOE_T_STACKED_UP] = "model.layers.{L}.feed_forward.switch_mlp.up_proj.weight",
            [MOE_T_STACKED_DOWN] = "model.layers.{L}.feed_forward.switch_mlp.down_proj.weight",
            [MOE_T_SHARED_GATE] = "model.layers.{L}.feed_forward.shared_expert.gate_proj.weight",
            [MOE_T_SHARED_UP] = "model.layers.{L}.feed_forward.shared_expert.up_proj.weight",
            [MOE_T_SHARED_DOWN] = "model.layers.{L}.feed_forward.shared_expert.down_proj.weight",
        },
};
