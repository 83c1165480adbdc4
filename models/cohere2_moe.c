/* Command A MoE (transformers: Cohere2MoeForCausalLM): attention and FFN side by side on one norm, RoPE in
 * sliding layers, routed and shared experts averaged. */
#include "models/family.h"

const struct moe_family moe_family_cohere2_moe = {
    .model_type = "cohere2_moe",
    .n_experts = {"num_experts", 8},
    .top_k = {"num_experts_per_tok", 2},
    .expert_width = {"intermediate_size", 22528},
    .dense_width = {"prefix_dense_intermediate_size|intermediate_size", 22528},
    .n_shared = {"num_shared_experts", 0},
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS},
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", true},
    .norm = MOE_NORM_BY_KEY,
    .norm_eps = {"layer_norm_eps", 1e-5},
    .block = MOE_BLOCK_PARALLEL,
    .window = {.rule = MOE_WINDOW_PERIOD_AFTER_DENSE,
               .size = 4096,
               .period = {"sliding_window_pattern", 4},
               .full_at = -1},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 0},
    .reads_mlp_layer_types = true,
    .logits_scale = {"logit_scale", 0.0625},
    .rope = {.absent = {.theta = 1e4},
             .interleaved = {NULL, true},
             .layers = MOE_ROPE_SLIDING_OR_DENSE,
             .ignores_scaling = true},
    .router = {.score = MOE_SCORE_BY_KEY, .renorm = {"norm_topk_prob", true}},
    .shared = MOE_SHARED_AVERAGE,
};
