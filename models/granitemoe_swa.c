/* Granite MoE with windows (transformers: GraniteMoeSWAForCausalLM): granitemoeshared, three of four layers
 * sliding, an attention sink in every layer, and a RoPE theta of its own for each, or none. */
#include "models/granite.h"

const struct moe_family moe_family_granitemoe_swa = {
    .model_type = "granitemoe_swa",
    MOE_GRANITE_MEMBERS,
    MOE_GRANITE_SHARED,
    .window = {.rule = MOE_WINDOW_PERIOD, .size = 128, .period = {NULL, 4}},
    .sinks = MOE_SINKS_ALL,
    .rope = {.absent = {.theta = 1e4}, .layers = MOE_ROPE_BY_THETA},
    .tensor = {MOE_GRANITE_TENSORS, MOE_GRANITE_SHARED_TENSORS},
};
