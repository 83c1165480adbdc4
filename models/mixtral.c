/* Mixtral (transformers: MixtralForCausalLM): always renormalised top-k; its own names for the experts. */
#include "models/family.h"

const struct moe_family moe_family_mixtral = {
    .model_type = "mixtral",
    .n_experts = {"num_local_experts", 8},
    .top_k = {"num_experts_per_tok", 2},
    .expert_width = {"intermediate_size", 14336},
    .n_kv_heads = {"num_key_value_heads", 8},
    .window_size = 4096,
    .tied = {"tie_word_embeddings", false},
    .rope_theta = 1e6,
    .norm_eps = 1e-5,
    .window = MOE_WINDOW_NON_NULL,
    .router = {.renorm = {.absent = true}},
    .tensor = {MOE_BLOCK_SPARSE_TENSORS},
};
