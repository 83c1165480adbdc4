/* Hunyuan 3 (transformers: HYV3ForCausalLM): Qwen3's attention, sigmoid routing with a correction bias.
 * Multi-token prediction layers are not used. */
#include "models/family.h"

const struct moe_family moe_family_hy_v3 = {
    .model_type = "hy_v3",
    .n_experts = {"num_experts", 192},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 1536},
    .dense_width = {"intermediate_size", 13312},
    .n_shared = {"num_shared_experts", 1},
    .n_kv_heads = {"num_key_value_heads", 8},
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .bias_ffn = {"mlp_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {NULL, 1},
    .reads_mlp_layer_types = true,
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .rope = {.absent = {.theta = 11158840}},
    .router = {.score = MOE_SCORE_SIGMOID,
               .correction = MOE_CORRECTION_VECTOR,
               .renorm = {.absent = true},
               .sum_added = 1e-20,
               .scale = {"router_scaling_factor", 2.826}},
    .shared = MOE_SHARED_PLAIN,
    .tensor =
        {
            [MOE_T_ROUTER] = "model.layers.{L}.mlp.{router.gate,gate}.weight",
            [MOE_T_CORRECTION] = "model.layers.{L}.mlp.{expert_bias,e_score_correction_bias}",
            [MOE_T_SHARED_GATE] = "model.layers.{L}.mlp.{shared_mlp,shared_experts}.gate_proj.weight",
            [MOE_T_SHARED_UP] = "model.layers.{L}.mlp.{shared_mlp,shared_experts}.up_proj.weight",
            [MOE_T_SHARED_DOWN] = "model.layers.{L}.mlp.{shared_mlp,shared_experts}.down_proj.weight",
        },
};
