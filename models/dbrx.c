/* DBRX (transformers: DbrxForCausalLM): LayerNorm without a bias, one matrix for queries, keys and values,
 * the rows of all experts in three. As in transformers, attn_config.rope_theta is not read
 * (docs/families.md). */
#include "models/family.h"

const struct moe_family moe_family_dbrx = {
    .model_type = "dbrx",
    .hidden_size = "hidden_size|d_model",
    .n_layers = "num_hidden_layers|n_layers",
    .n_heads = "num_attention_heads|n_heads",
    .max_positions = "max_position_embeddings|max_seq_len",
    .hidden_act = "ffn_config.ffn_act_fn.name",
    .n_experts = {"ffn_config.moe_num_experts", 4},
    .top_k = {"ffn_config.moe_top_k", 1},
    .expert_width = {"ffn_config.ffn_hidden_size", 3584},
    .n_kv_heads = {"attn_config.kv_n_heads", 1},
    .norm = MOE_NORM_LAYER_NO_BIAS,
    .norm_eps = {NULL, 1e-5},
    .clip_qkv = "attn_config.clip_qkv",
    .rope = {.absent = {.theta = 1e4}},
    .router = {.norm_power = "ffn_config.moe_normalize_expert_weights"},
    .fused = MOE_FUSED_ROWS,
    .refused_if_true = {"tie_word_embeddings", false},
    .tensor =
        {
            [MOE_T_EMBED] = "transformer.wte.weight",
            [MOE_T_FINAL_NORM] = "transformer.norm_f.weight",
            [MOE_T_ATTENTION_NORM] = "transformer.blocks.{L}.norm_attn_norm.norm_1.weight",
            [MOE_T_QKV] = "transformer.blocks.{L}.norm_attn_norm.attn.Wqkv.weight",
            [MOE_T_O] = "transformer.blocks.{L}.norm_attn_norm.attn.out_proj.weight",
            [MOE_T_FFN_NORM] = "transformer.blocks.{L}.norm_attn_norm.norm_2.weight",
            [MOE_T_ROUTER] = "transformer.blocks.{L}.ffn.router.layer.weight",
            [MOE_T_STACKED_GATE] = "transformer.blocks.{L}.ffn.experts.mlp.w1",
            [MOE_T_STACKED_UP] = "transformer.blocks.{L}.ffn.experts.mlp.v1",
            [MOE_T_STACKED_DOWN] = "transformer.blocks.{L}.ffn.experts.mlp.w2",
        },
};
