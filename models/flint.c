/* Flint (transformers: FlintForCausalLM): RoPE and a window in most layers, neither in the others, a sink in
 * all; sigmoid routing without a correction. */
#include "models/family.h"

const struct moe_family moe_family_flint = {
    .model_type = "flint",
    .n_experts = {"num_experts", 256},
    .top_k = {"num_experts_per_tok", 6},
    .expert_width = {"moe_intermediate_size", 512},
    .dense_width = {"intermediate_size", 6144},
    .shared_width = {"shared_expert_intermediate_size", 1024},
    .n_kv_heads = {"num_key_value_heads", 4},
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .window = {.rule = MOE_WINDOW_PERIOD,
               .size = 513,
               .period = {NULL, 4},
               .full_at = 1,
               .n_full = 2,
               .last_full = true},
    .dense = MOE_DENSE_BY_STEP,
    .dense_first = {NULL, 2},
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .sinks = MOE_SINKS_ALL,
    .rope = {.absent = {.theta = 1e4}, .layers = MOE_ROPE_SLIDING},
    .router = {.score = MOE_SCORE_SIGMOID, .renorm = {"norm_topk_prob", true}},
    .shared = MOE_SHARED_PLAIN,
    .tensor =
        {
            [MOE_T_SINKS] = "model.layers.{L}.self_attn.{softmax_offset,sinks}",
            [MOE_T_SHARED_GATE] = "model.layers.{L}.mlp.shared_expert.gate_proj.weight",
            [MOE_T_SHARED_UP] = "model.layers.{L}.mlp.shared_expert.up_proj.weight",
            [MOE_T_SHARED_DOWN] = "model.layers.{L}.mlp.shared_expert.down_proj.weight",
        },
};
