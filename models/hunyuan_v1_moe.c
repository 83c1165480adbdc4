/* Hunyuan-A13B (transformers: HunYuanMoEV1ForCausalLM): queries and keys are normed after RoPE, which a fixed
 * alpha may stretch; one shared expert; top-k may differ from layer to layer. */
#include "models/family.h"

const struct moe_family moe_family_hunyuan_v1_moe = {
    .model_type = "hunyuan_v1_moe",
    .n_experts = {"num_experts", 1},
    .top_k = {"num_experts_per_tok|moe_topk", 1},
    .top_k_may_be_list = true,
    .expert_width = {"intermediate_size", 11008},
    .shared_width = {"intermediate_size", 11008},
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .qk_norm = MOE_QK_NORM_AFTER_ROPE,
    .rope = {.absent = {.theta = 1e4}, .reads_alpha = true},
    .router = {.renorm = {.absent = true}},
    .shared = MOE_SHARED_PLAIN,
    .tensor = {[MOE_T_Q_NORM] = "model.layers.{L}.self_attn.query_layernorm.weight",
               [MOE_T_K_NORM] = "model.layers.{L}.self_attn.key_layernorm.weight",
               [MOE_T_ROUTER] = "model.layers.{L}.mlp.gate.wg.weight",
               [MOE_T_SHARED_GATE] = "model.layers.{L}.mlp.shared_mlp.gate_proj.weight",
               [MOE_T_SHARED_UP] = "model.layers.{L}.mlp.shared_mlp.up_proj.weight",
               [MOE_T_SHARED_DOWN] = "model.layers.{L}.mlp.shared_mlp.down_proj.weight"},
};
