/* Kolibri 1 (transformers: Kolibri1ForCausalLM): norms before and after attention and experts, RoPE and a
 * window in four of five layers; experts are chosen by corrected logits and weighed by sigmoids. */
#include "models/family.h"

const struct moe_family moe_family_kolibri1 = {
    .model_type = "kolibri1",
    .n_experts = {"num_experts", 384},
    .top_k = {"num_experts_per_tok", 6},
    .expert_width = {"moe_intermediate_size", 512},
    .shared_width = {"shared_expert_intermediate_size", 512},
    .n_kv_heads = {"num_key_value_heads", 4},
    .head_dim = 128,
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .block = MOE_BLOCK_SANDWICH,
    .window = {.rule = MOE_WINDOW_PERIOD, .size = 513, .period = {NULL, 5}, .full_at = -1},
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .rope = {.absent = {.theta = 1e4}, .layers = MOE_ROPE_SLIDING},
    .router = {.score = MOE_SCORE_CHOSEN_SIGMOID,
               .correction = MOE_CORRECTION_VECTOR,
               .renorm = {"norm_topk_prob", false}},
    .shared = MOE_SHARED_PLAIN,
    .tensor =
        {
            [MOE_T_ATTENTION_OUT_NORM] = "model.layers.{L}.{post_attn_norm,post_self_attn_layernorm}.weight",
            [MOE_T_FFN_OUT_NORM] = "model.layers.{L}.{post_ffn_norm,post_mlp_layernorm}.weight",
            [MOE_T_CORRECTION] = "model.layers.{L}.{moe.router.expert_bias,mlp.gate.e_score_correction_bias}",
        },
};
