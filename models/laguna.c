/* Laguna (transformers: LagunaForCausalLM): heads and RoPE differ between layers, a softplus gate on the
 * heads' output, sigmoid routing of capped logits with a correction bias. */
#include "models/family.h"

const struct moe_family moe_family_laguna = {
    .model_type = "laguna",
    .n_experts = {"num_experts", 256},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"moe_intermediate_size", 512},
    .dense_width = {"intermediate_size", 8192},
    .shared_width = {"shared_expert_intermediate_size", 512},
    .n_kv_heads = {"num_key_value_heads", 8},
    .heads_by_layer = "num_attention_heads_per_layer",
    .head_dim = 128,
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .window = {.rule = MOE_WINDOW_LISTED, .size = 512},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {NULL, 1},
    .reads_mlp_layer_types = true,
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .gate = MOE_GATE_SOFTPLUS,
    .rope = {.absent = {.partial = 1, .settings = "{\"rope_theta\": 5e5, \"partial_rotary_factor\": 0.5}"},
             .sliding = {.partial = 1, .settings = "{\"rope_theta\": 1e4}"},
             .layers = MOE_ROPE_BY_TYPE,
             .ignores_scaling = true},
    .router = {.score = MOE_SCORE_SIGMOID,
               .soft_cap = {"moe_router_logit_softcapping", 0},
               .correction = MOE_CORRECTION_VECTOR,
               .renorm = {.absent = true},
               .scale = {"moe_routed_scaling_factor", 1}},
    .shared = MOE_SHARED_PLAIN,
    .refused_if_true = {"moe_apply_router_weight_on_input", false},
    .tensor =
        {
            [MOE_T_OUTPUT_GATE] = "model.layers.{L}.self_attn.g_proj.weight",
            [MOE_T_CORRECTION] = "model.layers.{L}.mlp.{experts,gate}.e_score_correction_bias",
            [MOE_T_SHARED_GATE] = "model.layers.{L}.mlp.{shared_expert,shared_experts}.gate_proj.weight",
            [MOE_T_SHARED_UP] = "model.layers.{L}.mlp.{shared_expert,shared_experts}.up_proj.weight",
            [MOE_T_SHARED_DOWN] = "model.layers.{L}.mlp.{shared_expert,shared_experts}.down_proj.weight",
        },
};
