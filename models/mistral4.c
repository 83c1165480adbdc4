/* Mistral Small 4's text model (transformers: Mistral4ForCausalLM): DeepSeek's attention, queries that grow
 * with their position, softmax routing in groups. Of model_type mistral3 the text part. */
#include "models/family.h"

const struct moe_family moe_family_mistral4 = {
    .model_type = "mistral4",
    .part_of = "mistral3",
    .prefix = "language_model.",
    .part_tied = {"tie_word_embeddings", true},
    .n_experts = {"n_routed_experts", 128},
    .top_k = {"num_experts_per_tok", 4},
    .expert_width = {"moe_intermediate_size", 2048},
    .dense_width = {"intermediate_size", 12288},
    .n_shared = {"n_shared_experts", 1},
    .latent = {.q_lora_rank = 1024,
               .kv_lora_rank = 256,
               .qk_nope_head_dim = 64,
               .qk_rope_head_dim = 64,
               .v_head_dim = 128},
    .bias_qkv = {"attention_bias", false},
    .bias_o = {"attention_bias", false},
    .tied = {"tie_word_embeddings", false},
    .norm_eps = {"rms_norm_eps", 1e-6},
    .dense = MOE_DENSE_FIRST,
    .dense_first = {"first_k_dense_replace", 0},
    .attention = MOE_ATTENTION_LATENT,
    .growth = MOE_GROWTH_ALL,
    .rope = {.absent = {.theta = 1e4,
                        .settings = "{\"rope_type\": \"yarn\", \"rope_theta\": 1e4, \"factor\": 128, "
                                    "\"original_max_position_embeddings\": 8192, \"beta_fast\": 32, "
                                    "\"beta_slow\": 1, \"mscale\": 1, \"mscale_all_dim\": 1, "
                                    "\"llama_4_scaling_beta\": 0.1}"},
             .interleaved = {"rope_interleave?", true},
             .ignores_partial = true},
    .router = {.grouping = MOE_GROUPS_TOP_2_SUM,
               .n_groups = {"n_group", 1},
               .top_groups = {"topk_group", 1},
               .renorm = {"norm_topk_prob?", true},
               .sum_added = 1e-20,
               .scale = {"routed_scaling_factor", 1}},
    .shared = MOE_SHARED_PLAIN,
};
