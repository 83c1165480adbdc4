/* dots.llm1 (transformers: Dots1ForCausalLM): Qwen3's attention, with a window from some layer on, and the
 * routing of DeepSeek-V3. */
#include "models/family.h"

const struct moe_family moe_family_dots1 = {
    .model_type = "dots1",
    .n_experts = {"n_routed_experts", 0},
    .top_k = {"num_experts_per_tok", 0},
    .expert_width = {"moe_intermediate_size", 1408},
    .dense_width = {"intermediate_size", 10944},
    .n_shared = {"n_shared_experts", 0},
    .n_kv_heads = {"num_key_value_heads", 32},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .rope = {.absent = {.theta = 1e4}},
    .qk_norm = MOE_QK_NORM_PER_HEAD,
    .window = {.rule = MOE_WINDOW_FROM_LAYER, .size = 4096},
    .router = {.score = MOE_SCORE_SIGMOID,
               .grouping = MOE_GROUPS_TOP_2_SUM,
               .n_groups = {"n_group", 1},
               .top_groups = {"topk_group", 1},
               .correction = MOE_CORRECTION_VECTOR,
               .renorm = {"norm_topk_prob", false},
               .sum_added = 1e-20,
               .scale = {"routed_scaling_factor", 1}},
    .shared = MOE_SHARED_PLAIN,
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 0},
    .tensor =
        {
            /* mlx-lm's stacks */
            [MOE_T_STACKED_GATE] = "model.layers.{L}.mlp.experts.gate_proj.weight",
            [MOE_T_STACKED_UP] = "model.layers.{L}.mlp.experts.up_proj.weight",
            [MOE_T_STACKED_DOWN] = "model.layers.{L}.mlp.experts.down_proj.weight",
        },
};
