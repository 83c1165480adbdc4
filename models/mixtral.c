/* Mixtral (transformers: MixtralForCausalLM): always renormalised top-k; its own names for the experts. */
#include "models/family.h"

const struct moe_family moe_family_mixtral = {
    .model_type = "mixtral",
    .n_experts = {"num_local_experts", 8},
    .top_k = {"num_experts_per_tok", 2},
    .expert_width = {"intermediate_size", 14336},
    .n_kv_heads = {"num_key_value_heads", 8},
    .tied = {"tie_word_embeddings", false},
    .rope = {.absent = {.theta = 1e6}},
    .norm_eps = {"rms_norm_eps", 1e-5},
    .window = {.rule = MOE_WINDOW_NON_NULL, .size = 4096},
    .router = {.renorm = {.absent = true}},
    .tensor = {MOE_BLOCK_SPARSE_TENSORS},
};
