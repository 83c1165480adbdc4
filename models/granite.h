#ifndef MOE_MODELS_GRANITE_H
#define MOE_MODELS_GRANITE_H
/* What the Granite MoE families have in common, for their struct moe_family. */

#include "models/family.h"

#define MOE_GRANITE_MEMBERS                                                                                  \
    .n_experts = {"num_local_experts", 8}, .top_k = {"num_experts_per_tok", 2},                              \
    .expert_width = {"intermediate_size", 11008},                                                            \
    .n_kv_heads = {"num_key_value_heads", MOE_AS_MANY_AS_HEADS}, .bias_qkv = {"attention_bias", false},      \
    .bias_o = {"attention_bias", false}, .tied = {"tie_word_embeddings", false},                             \
    .norm_eps = {"rms_norm_eps", 1e-6}, .embed_scale = {"embedding_multiplier", 1},                          \
    .residual_scale = {"residual_multiplier", 1}, .logits_divisor = {"logits_scaling", 1},                   \
    .score_scale = {"attention_multiplier", 1}, .router = {.score = MOE_SCORE_CHOSEN_SOFTMAX}

/* Those with a shared expert. */
#define MOE_GRANITE_SHARED .shared_width = {"shared_intermediate_size", 0}, .shared = MOE_SHARED_PLAIN

/* For .tensor; where there are two names, the second is that of transformers 5. */
#define MOE_GRANITE_TENSORS                                                                                  \
    [MOE_T_ROUTER] = "model.layers.{L}.block_sparse_moe.router.{layer.weight,weight}",                       \
    [MOE_T_FUSED_GATE_UP] = "model.layers.{L}.block_sparse_moe.{input_linear.weight,experts.gate_up_proj}",  \
    [MOE_T_FUSED_DOWN] = "model.layers.{L}.block_sparse_moe.{output_linear.weight,experts.down_proj}",       \
    [MOE_T_STACKED_GATE] = "model.layers.{L}.block_sparse_moe.switch_mlp.gate_proj.weight",                  \
    [MOE_T_STACKED_UP] = "model.layers.{L}.block_sparse_moe.switch_mlp.up_proj.weight",                      \
    [MOE_T_STACKED_DOWN] = "model.layers.{L}.block_sparse_moe.switch_mlp.down_proj.weight"
#define MOE_GRANITE_SHARED_TENSORS                                                                           \
    [MOE_T_SHARED_GATE_UP] = "model.layers.{L}.shared_mlp.input_linear.weight",                              \
    [MOE_T_SHARED_DOWN] = "model.layers.{L}.shared_mlp.output_linear.weight"

#endif
