/* Granite 3 MoE with a shared expert (transformers: GraniteMoeSharedForCausalLM), which lies beside the MoE
 * block and not in it. */
#include "models/granite.h"

const struct moe_family moe_family_granitemoeshared = {
    .model_type = "granitemoeshared",
    MOE_GRANITE_MEMBERS,
    MOE_GRANITE_SHARED,
    .rope = {.absent = {.theta = 1e4}},
    .tensor = {MOE_GRANITE_TENSORS, MOE_GRANITE_SHARED_TENSORS},
};
