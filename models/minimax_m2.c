/* MiniMax-M2 (transformers: MiniMaxM2ForCausalLM): flat norm of queries and keys, RoPE on a part of each
 * head, sigmoid routing with a correction bias. Multi-token prediction is not used. */
#include "models/family.h"

const struct moe_family moe_family_minimax_m2 = {
    .model_type = "minimax_m2",
    .n_experts = {"num_local_experts", 256},
    .top_k = {"num_experts_per_tok", 8},
    .expert_width = {"intermediate_size", 1536},
    .n_kv_heads = {"num_key_value_heads", 8},
    .head_dim = 128,
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .qk_norm = MOE_QK_NORM_FLAT,
    .rope = {.absent = {.theta = 5e6, .partial = 1}, .reads_width = true},
    .router = {.score = MOE_SCORE_SIGMOID, .correction = MOE_CORRECTION_VECTOR, .renorm = {.absent = true}},
    .tensor =
        {MOE_BLOCK_SPARSE_TENSORS, [MOE_T_CORRECTION] =
                                       "model.layers.{L}.{block_sparse_moe,mlp}.e_score_correction_bias"},
};
