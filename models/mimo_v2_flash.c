/* MiMo-V2-Flash (transformers: MiMoV2FlashForCausalLM): five of six layers slide, with twice as many kv
 * heads, a RoPE of their own and attention sinks; values are narrower than keys and scaled; DeepSeek-V3's
 * routing. Multi-token prediction is not used. */
#include "models/family.h"

const struct moe_family moe_family_mimo_v2_flash = {
    .model_type = "mimo_v2_flash",
    .n_experts = {"n_routed_experts", 256},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 2048},
    .dense_width = {"intermediate_size", 16384},
    .n_kv_heads = {"num_key_value_heads", 4},
    .kv_heads_if_sliding = 2,
    .head_dim = 192,
    .value_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .window = {.rule = MOE_WINDOW_PERIOD,
               .size = 129,
               .reads_size_before = true,
               .period = {NULL, 6},
               .full_at = -1,
               .n_full = 1},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {NULL, 1},
    .reads_mlp_layer_types = true,
    .sinks = MOE_SINKS_SLIDING,
    .value_scale = {"attention_value_scale?", 0.707},
    .rope = {.absent = {.partial = 0.334, .settings = "{\"rope_theta\": 5e6}"},
             .sliding = {.partial = 0.334, .settings = "{\"rope_theta\": 1e4}"},
             .layers = MOE_ROPE_BY_TYPE,
             .ignores_scaling = true},
    .router = {.score = MOE_SCORE_SIGMOID,
               .grouping = MOE_GROUPS_TOP_2_SUM,
               .n_groups = {"n_group", 1},
               .top_groups = {"topk_group", 1},
               .correction = MOE_CORRECTION_VECTOR,
               .renorm = {"norm_topk_prob", true},
               .sum_added = 1e-20,
               .scale = {"routed_scaling_factor?", 1}},
    .tensor = {[MOE_T_SINKS] = "model.layers.{L}.self_attn.attention_sink_bias|"
                               "model.layers.{L}.self_attn.sinks"},
};
