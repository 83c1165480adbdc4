/* ERNIE 4.5 (transformers: Ernie4_5_MoeForCausalLM): interleaved RoPE, softmax routing whose choice a bias
 * corrects. Multi-token prediction (model.mtp_*) is not used. */
#include "models/family.h"

const struct moe_family moe_family_ernie4_5_moe = {
    .model_type = "ernie4_5_moe",
    .n_experts = {"moe_num_experts", 64},
    .top_k = {"moe_k", 6},
    .expert_width = {"moe_intermediate_size", 1536},
    .dense_width = {"intermediate_size", 12288},
    .n_shared = {"moe_num_shared_experts", 2},
    .n_kv_heads = {"num_key_value_heads", 4},
    .bias_qkv = {"use_bias", false},
    .bias_o = {"use_bias", false},
    .bias_ffn = {"use_bias", false},
    .bias_head = {"use_bias", false},
    .tied = {"tie_word_embeddings", true},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .rope = {.absent = {.theta = 5e5}, .interleaved = {NULL, true}},
    .router = {.correction = MOE_CORRECTION_ROW,
               .renorm = {.absent = true},
               .sum_min = {"moe_norm_min", 1e-12}},
    .shared = MOE_SHARED_PLAIN,
    .dense = MOE_DENSE_INTERVAL,
    .tensor = {[MOE_T_CORRECTION] =
                   "model.layers.{L}.mlp.{moe_statics,gate.moe_statics}.e_score_correction_bias"},
};
