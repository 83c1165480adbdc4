/* Granite 3 MoE (transformers: GraniteMoeForCausalLM): four multipliers, of embeddings, what blocks add,
 * scores and logits; softmax over the chosen experts. */
#include "models/granite.h"

const struct moe_family moe_family_granitemoe = {
    .model_type = "granitemoe",
    MOE_GRANITE_MEMBERS,
    .rope = {.absent = {.theta = 1e4}},
    .tensor = {MOE_GRANITE_TENSORS},
};
