/* K-EXAONE (transformers: ExaoneMoeForCausalLM): RoPE and a window in three of four layers, neither in the
 * fourth; DeepSeek-V3's routing. Multi-token prediction is not used. */
#include "models/family.h"

const struct moe_family moe_family_exaone_moe = {
    .model_type = "exaone_moe",
    .n_experts = {"num_experts", 64},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 1024},
    .dense_width = {"intermediate_size", 16384},
    .n_shared = {"num_shared_experts", 1},
    .n_kv_heads = {"num_key_value_heads", 32},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .window = {.rule = MOE_WINDOW_PERIOD,
               .size = 4096,
               .period = {"sliding_window_pattern", 4},
               .full_at = -1},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 1},
    .reads_mlp_layer_types = true,
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .rope = {.absent = {.theta = 1e4}, .layers = MOE_ROPE_SLIDING},
    .router = MOE_DEEPSEEK_V3_ROUTER(1, 1, 2.5),
    .shared = MOE_SHARED_PLAIN,
    .tensor = {[MOE_T_CORRECTION] =
                   "model.layers.{L}.mlp.{e_score_correction_bias,gate.e_score_correction_bias}"},
};
