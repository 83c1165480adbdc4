/* config.json to the plan of the layers: windows, chunks, RoPE, heads and FFNs layer by layer, and the steps
 * of a pass. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/spec.h"

enum { LAYERS = 6 };

static moe_error err;

/* Resolves a config of 6 layers that has these members too. */
static moe_status resolve(struct moe_spec *spec, const char *model_type, const char *members) {
    char text[4096];
    struct moe_json doc;
    int n =
        snprintf(text, sizeof text,
                 "{\"model_type\": \"%s\", \"hidden_size\": 64, \"num_hidden_layers\": 6, \"vocab_size\": "
                 "100, \"num_attention_heads\": 4, \"max_position_embeddings\": 512%s%s}",
                 model_type, *members ? ", " : "", members);
    cr_assert_eq(moe_json_parse(&doc, "config.json", text, (size_t)n, &err), MOE_OK, "%s", err.message);
    moe_status status = moe_spec_resolve(spec, moe_json_root(&doc), &err);
    moe_json_close(&doc);
    return status;
}

static struct moe_spec resolved(const char *model_type, const char *members) {
    struct moe_spec s;
    cr_assert_eq(resolve(&s, model_type, members), MOE_OK, "%s: %s", model_type, err.message);
    return s;
}

static void expect_fault(const char *model_type, const char *members, moe_status status, const char *says) {
    struct moe_spec spec;
    cr_expect_eq(resolve(&spec, model_type, members), status, "%s, %s: %s", model_type, members, err.message);
    cr_expect(strstr(err.message, says), "\"%s\" lacks \"%s\"", err.message, says);
    cr_expect_null(spec.layers);
    cr_expect_null(spec.ropes);
    cr_expect_null(spec.steps);
}

struct plan {
    const char *model_type, *members;
    const char *windows; /* one letter per layer: s sliding, c in chunks, f full */
    const char *ropes;   /* the number of the RoPE, - without */
    const char *ffns;    /* d dense, e experts */
};

static const struct plan plans[] = {
    {"exaone_moe", "\"num_key_value_heads\": 4", "sssfss", "000-00", "deeeee"},
    {"exaone_moe", "\"num_key_value_heads\": 4, \"sliding_window_pattern\": 2, \"first_k_dense_replace\": 2",
     "sfsfsf", "0-0-0-", "ddeeee"},
    {"granitemoe_swa", "", "fsssfs", "000000", "eeeeee"},
    {"granitemoe_swa", "\"layer_rope_theta\": [0, 1e4, 500, 1e4, 0.0, 500]", "fsssfs", "-010-1", "eeeeee"},
    {"afmoe", "\"head_dim\": 16, \"global_attn_every_n_layers\": 3", "ssfssf", "00-00-", "deeeee"},
    {"kolibri1", "\"num_key_value_heads\": 4", "ssssfs", "0000-0", "eeeeee"},
    {"flint", "\"num_key_value_heads\": 4", "ffsssf", "--000-", "ddeeee"},
    {"flint", "\"num_key_value_heads\": 4, \"mlp_only_layers\": []", "ffsssf", "--000-", "eeeeee"},
    {"mimo_v2_flash", "\"num_key_value_heads\": 2", "fssssf", "011110", "deeeee"},
    {"mellum",
     "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\", "
     "\"sliding_attention\", \"full_attention\", \"full_attention\"]",
     "fsfsff", "010100", "eeeeee"},
    {"laguna", "\"num_key_value_heads\": 4", "ffffff", "000000", "deeeee"},
    {"cohere2_moe", "", "sssfss", "000-00", "eeeeee"},
    {"cohere2_moe", "\"first_k_dense_replace\": 2", "ffsssf", "00000-", "ddeeee"},
    {"cohere2_moe", "\"first_k_dense_replace\": 2, \"prefix_dense_sliding_window_pattern\": 2", "sfsssf",
     "0-000-", "ddeeee"},
    {"llama4_text", "\"num_key_value_heads\": 4", "cccfcc", "000-00", "eeeeee"},
    {"llama4_text",
     "\"num_key_value_heads\": 4, \"no_rope_layers\": [1, 0, 1, 0, 1, 0], \"interleave_moe_layer_step\": 2",
     "cfcfcf", "0-0-0-", "dedede"},
    {"llama4_text",
     "\"num_key_value_heads\": 4, \"attention_chunk_size\": null, \"no_rope_layers\": [], \"moe_layers\": [0, 5]",
     "ffffff", "000-00", "edddde"},
    {"axk1", "\"num_key_value_heads\": 4, \"first_k_dense_replace\": 2, \"moe_layer_freq\": 3", "ffffff",
     "000000", "dddedd"},
    {"axk1", "\"mlp_layer_types\": [\"sparse\", \"dense\", \"dense\", \"dense\", \"dense\", \"sparse\"]",
     "ffffff", "000000", "edddde"},
    {"glm4_moe_lite", "\"first_k_dense_replace\": 3", "ffffff", "000000", "deeeee"},
    {"mistral4", "\"first_k_dense_replace\": 1", "ffffff", "000000", "deeeee"},
};

Test(layers, plans_follow_the_family) {
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const struct plan *p = &plans[i];
        struct moe_spec s = resolved(p->model_type, p->members);
        char windows[LAYERS + 1] = {0}, ropes[LAYERS + 1] = {0}, ffns[LAYERS + 1] = {0};
        cr_assert_eq(s.n_layers, LAYERS);
        for (size_t l = 0; l < LAYERS; l++) {
            const struct moe_layer_spec *layer = &s.layers[l];
            windows[l] = layer->window ? 's' : layer->chunk ? 'c' : 'f';
            ropes[l] = layer->rope == MOE_NO_ROPE ? '-' : (char)('0' + layer->rope);
            ffns[l] = layer->dense ? 'd' : 'e';
            cr_expect_neq(layer->dense, layer->routed);
            cr_expect(layer->rope == MOE_NO_ROPE || layer->rope < s.n_ropes);
        }
        cr_expect_str_eq(windows, p->windows, "%s, %s", p->model_type, p->members);
        cr_expect_str_eq(ropes, p->ropes, "%s, %s", p->model_type, p->members);
        cr_expect_str_eq(ffns, p->ffns, "%s, %s", p->model_type, p->members);
        moe_spec_free(&s);
    }
}

Test(layers, a_window_may_be_told_without_the_position_itself) {
    struct moe_spec s = resolved("mimo_v2_flash", "\"num_key_value_heads\": 2, \"sliding_window_size\": 8");
    cr_expect(s.layers[0].window == 0 && s.layers[1].window == 9);
    cr_expect_eq(s.layers[0].n_kv_heads, 2);
    cr_expect_eq(s.layers[1].n_kv_heads, 4);
    cr_expect(s.n_kv_heads == 4 && s.value_dim == 128 && s.head_dim == 192);
    cr_expect(!s.layers[0].sinks && s.layers[1].sinks);
    cr_expect_float_eq(s.value_scale, 0.707f, 1e-7);
    moe_spec_free(&s);
    s = resolved("mimo_v2_flash", "\"num_key_value_heads\": 2, \"attention_value_scale\": null, "
                                  "\"routed_scaling_factor\": null");
    cr_expect(s.value_scale == 1 && s.router.scale == 1 && s.layers[1].window == 129);
    moe_spec_free(&s);
}

Test(layers, first_seen_is_of_the_window_or_of_the_chunk) {
    const struct moe_layer_spec full = {0}, window = {.window = 4}, chunk = {.chunk = 4};
    for (size_t p = 0; p < 20; p++) {
        cr_expect_eq(moe_layer_first_seen(&full, p), 0);
        cr_expect_eq(moe_layer_first_seen(&window, p), p < 4 ? 0 : p - 3);
        cr_expect_eq(moe_layer_first_seen(&chunk, p), p / 4 * 4);
    }
    cr_expect(moe_layer_reach(&full) == 0 && moe_layer_reach(&window) == 4 && moe_layer_reach(&chunk) == 4);
}

static void expect_steps(const char *model_type, const char *members, const char *expected) {
    struct moe_spec s = resolved(model_type, members);
    char text[1024], *end = text;
    *end = '\0';
    for (size_t i = 0; i < s.n_steps; i++) {
        const struct moe_step *step = &s.steps[i];
        if (step->layer > 1) break;
        end += sprintf(end, "%s%zu%c%s%s%s%s", i ? " " : "", step->layer, "aed"[step->op],
                       step -> norm_in ? "<" : "", step->norm_out ? ">" : "", step->is_kept ? "k" : "",
                       step->adds_kept ? "+" : "");
        if (step->reads_same) end += sprintf(end, "=");
        if (step->ends_layer) end += sprintf(end, ".");
    }
    cr_expect_str_eq(text, expected, "%s", model_type);
    moe_spec_free(&s);
}

Test(layers, steps_are_those_of_the_block) {
    expect_steps("qwen3_moe", "", "0a< 0e<. 1a< 1e<.");
    expect_steps("flex_olmo", "", "0a> 0e>. 1a> 1e>.");
    expect_steps("afmoe", "\"head_dim\": 16", "0a<> 0d<>. 1a<> 1e<>.");
    expect_steps("cohere2_moe", "", "0a<k 0e<+=. 1a<k 1e<+=.");
    expect_steps("longcat_flash", "\"num_layers\": 3, \"head_dim\": 64", "0a< 0e<k 0d<= 1a< 1d<+.");
}

Test(layers, a_layer_of_two_attentions_counts_twice) {
    struct moe_spec s = resolved("longcat_flash", "\"num_layers\": 3");
    cr_expect(s.n_layers == 6 && s.sublayers == 2 && s.router.n_choices == 512 + 256 && s.n_experts == 512);
    cr_expect_float_eq(s.latent.q_scale, sqrt(64. / 1536), 1e-6);
    cr_expect_float_eq(s.latent.kv_scale, sqrt(64. / 512), 1e-6);
    for (size_t l = 0; l < 6; l++) cr_expect(s.layers[l].dense && s.layers[l].routed == (l % 2 == 0));
    moe_spec_free(&s);
    expect_fault("longcat_flash", "\"num_layers\": 2", MOE_E_FORMAT, "num_hidden_layers: 6");
    expect_fault("longcat_flash", "\"num_layers\": 3, \"head_dim\": 32", MOE_E_FORMAT, "head_dim: 32");
    expect_fault("longcat_flash", "\"num_layers\": 3, \"zero_expert_num\": null", MOE_E_FORMAT,
                 "zero_expert_num");
    expect_fault("longcat_flash", "\"num_layers\": 3, \"moe_topk\": 769", MOE_E_FORMAT, "moe_topk");
    expect_fault("longcat_flash", "\"num_layers\": 3, \"q_lora_rank\": null", MOE_E_FORMAT, "q_lora_rank");
}

Test(layers, ropes_by_type_of_layer) {
    static const char types[] = "\"num_key_value_heads\": 4, \"head_dim\": 16, \"layer_types\": "
                                "[\"sliding_attention\", \"full_attention\", \"full_attention\", "
                                "\"full_attention\", \"full_attention\", \"full_attention\"]";
    char members[1024];
    struct moe_spec s = resolved("laguna", types);
    cr_expect(s.n_ropes == 2 && s.ropes[0].n_pairs == 4 && s.ropes[1].n_pairs == 8);
    cr_expect(s.ropes[0].theta == 5e5f && s.ropes[1].theta == 1e4f);
    moe_spec_free(&s);

    snprintf(
        members, sizeof members,
        "%s, \"rope_theta\": 77, \"partial_rotary_factor\": 0.25, \"rope_scaling\": {\"rope_type\": \"axial\"}, "
        "\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 100}, \"sliding_attention\": "
        "{\"rope_type\": \"linear\", \"factor\": 2}}",
        types);
    s = resolved("laguna", members);
    cr_expect(s.ropes[0].theta == 100 && s.ropes[0].n_pairs == 8, "a default type keeps to itself");
    cr_expect(s.ropes[1].theta == 77 && s.ropes[1].n_pairs == 2,
              "another takes what it lacks from the top level");
    moe_spec_free(&s);

    snprintf(members, sizeof members, "%s, \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 100}}",
             types);
    expect_fault("laguna", members, MOE_E_FORMAT, "rope_parameters.sliding_attention: missing");
    snprintf(members, sizeof members, "%s, \"rope_parameters\": {\"rope_theta\": 100}", types);
    expect_fault("laguna", members, MOE_E_FORMAT, "rope_parameters.full_attention: missing");
    snprintf(members, sizeof members, "%s, \"rope_parameters\": {\"full_attention\": {}}", types);
    expect_fault("laguna", members, MOE_E_FORMAT, "rope_parameters.full_attention.rope_theta: missing");
    snprintf(members, sizeof members,
             "%s, \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}",
             types);
    expect_fault("laguna", members, MOE_E_FORMAT, "rope_parameters.full_attention.rope_theta: missing");
    snprintf(members, sizeof members, "%s, \"rope_parameters\": {\"full_attention\": 3}", types);
    expect_fault("laguna", members, MOE_E_FORMAT, "rope_parameters.full_attention: expected an object");
}

Test(layers, thetas_by_layer) {
    struct moe_spec s = resolved("granitemoe_swa", "\"layer_rope_theta\": [0, 0, 0, 0, 0, 0]");
    cr_expect_eq(s.n_ropes, 0);
    moe_spec_free(&s);
    expect_fault("granitemoe_swa", "\"layer_rope_theta\": [1, 2]", MOE_E_FORMAT,
                 "layer_rope_theta: expected an array of 6");
    expect_fault("granitemoe_swa", "\"layer_rope_theta\": [1, 2, -3, 4, 5, 6]", MOE_E_FORMAT,
                 "layer_rope_theta[2]");
    expect_fault("granitemoe_swa", "\"layer_rope_theta\": [1, 2, 3, 1e300, 5, 6]", MOE_E_FORMAT,
                 "layer_rope_theta[3]");
}

Test(layers, the_width_of_rope) {
    struct moe_spec s =
        resolved("minimax_m2", "\"num_key_value_heads\": 4, \"head_dim\": 32, \"rotary_dim\": 8");
    cr_expect_eq(s.ropes[0].n_pairs, 4);
    moe_spec_free(&s);
    s = resolved("minimax_m2", "\"num_key_value_heads\": 4, \"head_dim\": 32, \"rotary_dim\": 8, "
                               "\"partial_rotary_factor\": 0.5");
    cr_expect_eq(s.ropes[0].n_pairs, 8);
    moe_spec_free(&s);
    expect_fault("minimax_m2", "\"num_key_value_heads\": 4, \"head_dim\": 32, \"rotary_dim\": 64",
                 MOE_E_FORMAT, "rotary_dim: more than a head");
    s = resolved("hunyuan_v1_moe", "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 2, \"factor\": 9}");
    cr_expect_float_eq(s.ropes[0].theta, 1e4 * pow(2, 16. / 14), 0.01);
    cr_expect_eq(s.ropes[0].dynamic_after, 0);
    moe_spec_free(&s);
    s = resolved("hunyuan_v1_moe", "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 0, \"factor\": 9}");
    cr_expect_eq(s.ropes[0].dynamic_after, 512);
    moe_spec_free(&s);
    expect_fault("hunyuan_v1_moe", "\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": -2}", MOE_E_FORMAT,
                 "alpha");
    expect_fault("hunyuan_v1_moe", "\"head_dim\": 2, \"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 2}",
                 MOE_E_UNSUPPORTED, "alpha");
}

Test(layers, numbers_by_layer) {
    struct moe_spec s = resolved("laguna", "\"num_key_value_heads\": 2, \"head_dim\": 16, "
                                           "\"num_attention_heads_per_layer\": [2, 4, 6, 8, 2, 2]");
    cr_expect(s.n_heads == 8 && s.layers[0].n_heads == 2 && s.layers[3].n_heads == 8 && s.gate_dim == 1);
    moe_spec_free(&s);
    s = resolved("laguna", "\"num_key_value_heads\": 2, \"gating\": \"per-element\"");
    cr_expect_eq(s.gate_dim, s.head_dim);
    moe_spec_free(&s);
    s = resolved("hunyuan_v1_moe", "\"num_experts\": 8, \"moe_topk\": [1, 2, 3, 4, 5, 6]");
    cr_expect(s.top_k == 6 && s.layers[0].top_k == 1 && s.layers[5].top_k == 6);
    moe_spec_free(&s);
    expect_fault("laguna",
                 "\"num_key_value_heads\": 2, \"num_attention_heads_per_layer\": [2, 4, 6, 8, 2, 3]",
                 MOE_E_FORMAT, "num_key_value_heads: 2 does not divide num_attention_heads 3");
    expect_fault("laguna", "\"num_key_value_heads\": 2, \"num_attention_heads_per_layer\": [2]", MOE_E_FORMAT,
                 "num_attention_heads_per_layer");
    expect_fault("laguna", "\"num_key_value_heads\": 2, \"gating\": null", MOE_E_FORMAT, "gating");
    expect_fault("laguna", "\"num_key_value_heads\": 2, \"gating\": 3", MOE_E_FORMAT, "gating");
    expect_fault("laguna", "\"moe_apply_router_weight_on_input\": true", MOE_E_UNSUPPORTED,
                 "moe_apply_router_weight_on_input: true");
    expect_fault("hunyuan_v1_moe", "\"num_experts\": 4, \"moe_topk\": [1, 2, 3, 4, 5, 6]", MOE_E_FORMAT,
                 "moe_topk[4]");
    expect_fault("hunyuan_v1_moe", "\"num_experts\": 4, \"moe_topk\": [1, 2]", MOE_E_FORMAT, "moe_topk");
}

Test(layers, factors) {
    struct moe_spec s = resolved(
        "granitemoe", "\"embedding_multiplier\": 12, \"residual_multiplier\": 0.25, \"logits_scaling\": 8, "
                      "\"attention_multiplier\": 0.5");
    cr_expect(s.embed_scale == 12 && s.residual_scale == 0.25f && s.logits_scale == 0.125f);
    cr_expect_eq(s.attention_scale, 0.5f);
    moe_spec_free(&s);
    s = resolved("granitemoe", "");
    cr_expect(s.embed_scale == 1 && s.residual_scale == 1 && s.logits_scale == 1 && s.attention_scale == 1);
    moe_spec_free(&s);
    s = resolved("afmoe", "\"head_dim\": 16, \"mup_enabled\": true");
    cr_expect_eq(s.embed_scale, 8);
    moe_spec_free(&s);
    s = resolved("afmoe", "\"head_dim\": 16, \"mup_enabled\": null");
    cr_expect_eq(s.embed_scale, 1);
    moe_spec_free(&s);
    expect_fault("granitemoe", "\"logits_scaling\": 0", MOE_E_FORMAT, "logits_scaling");
    expect_fault("granitemoe", "\"logits_scaling\": 1e-44", MOE_E_FORMAT, "logits_scaling: 1 / ");
    expect_fault("granitemoe", "\"embedding_multiplier\": null", MOE_E_FORMAT, "embedding_multiplier");
    expect_fault("granitemoe", "\"attention_multiplier\": \"x\"", MOE_E_FORMAT, "attention_multiplier");
}

Test(layers, choices_by_a_key) {
    struct moe_spec s = resolved("cohere2_moe", "\"num_shared_experts\": 2, \"intermediate_size\": 10");
    cr_expect(s.norm == MOE_NORM_LAYER_NO_BIAS && s.shared_width == 20 && s.shared_scale == 0.5f && s.tied);
    cr_expect(s.router.score == MOE_SCORE_CHOSEN_SOFTMAX && s.logits_scale == 0.0625f && s.dense_width == 10);
    moe_spec_free(&s);
    s = resolved("cohere2_moe", "\"rms_norm_eps\": 1e-3, \"expert_selection_fn\": \"sigmoid\", "
                                "\"shared_expert_combination_strategy\": \"sum\", "
                                "\"prefix_dense_intermediate_size\": 7");
    cr_expect(s.norm == MOE_NORM_RMS && s.shared_scale == 1 && s.router.score == MOE_SCORE_CHOSEN_SIGMOID);
    cr_expect(s.norm_eps == 1e-3f && s.dense_width == 7 && s.shared_width == 0);
    moe_spec_free(&s);
    expect_fault("cohere2_moe", "\"expert_selection_fn\": \"relu\"", MOE_E_UNSUPPORTED,
                 "expert_selection_fn");
    expect_fault("cohere2_moe", "\"num_shared_experts\": 1, \"shared_expert_combination_strategy\": \"max\"",
                 MOE_E_UNSUPPORTED, "shared_expert_combination_strategy");
    expect_fault("cohere2_moe", "\"layer_types\": [1]", MOE_E_FORMAT, "layer_types");
    expect_fault("llama4_text",
                 "\"num_key_value_heads\": 4, \"layer_types\": [\"sliding_attention\", \"full_attention\", "
                 "\"full_attention\", \"full_attention\", \"full_attention\", \"full_attention\"]",
                 MOE_E_UNSUPPORTED, "layer_types[0]: \"sliding_attention\"");
    expect_fault("axk1",
                 "\"mlp_layer_types\": [\"moe\", \"dense\", \"dense\", \"dense\", \"dense\", \"dense\"]",
                 MOE_E_UNSUPPORTED, "mlp_layer_types[0]: \"moe\"");
}

Test(layers, queries_that_grow) {
    struct moe_spec s = resolved("llama4_text", "\"num_key_value_heads\": 4, \"attn_temperature_tuning\": 4");
    cr_expect(s.growth.first == 1 && s.growth.length == 8192 && s.layers[3].grows && !s.layers[0].grows);
    cr_expect(!s.layers[3].unit_norm && s.layers[0].unit_norm);
    moe_spec_free(&s);
    s = resolved("llama4_text",
                 "\"num_key_value_heads\": 4, \"attn_temperature_tuning\": 0, \"use_qk_norm\": false");
    cr_expect(!s.layers[3].grows && !s.layers[0].unit_norm);
    moe_spec_free(&s);
    s = resolved("mistral4", "");
    cr_expect(s.layers[0].grows && s.growth.length == 8192 && s.growth.first == 0);
    cr_expect_float_eq(s.growth.factor, 0.1f, 1e-7);
    moe_spec_free(&s);
    expect_fault("mistral4", "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2}", MOE_E_FORMAT,
                 "llama_4_scaling_beta");
    expect_fault("mistral4", "\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2}", MOE_E_FORMAT,
                 "original_max_position_embeddings: missing");
    expect_fault("mistral4", "\"rope_parameters\": {}", MOE_E_UNSUPPORTED, "only scaled ones");
}

Test(layers, nested_keys) {
    struct moe_spec s =
        resolved("dbrx", "\"attn_config\": {\"clip_qkv\": 8, \"kv_n_heads\": 2}, \"ffn_config\": "
                         "{\"moe_num_experts\": 6, \"moe_top_k\": 3, "
                         "\"moe_normalize_expert_weights\": 2, \"ffn_hidden_size\": 10}");
    cr_expect(s.clip_qkv == 8 && s.n_kv_heads == 2 && s.n_experts == 6 && s.top_k == 3 &&
              s.expert_width == 10);
    cr_expect(s.router.renorm && s.router.norm_power == 2 && s.ropes[0].theta == 1e4f);
    moe_spec_free(&s);
    s = resolved("dbrx", "\"d_model\": 32, \"ffn_config\": {\"moe_normalize_expert_weights\": null}");
    cr_expect(!s.router.renorm && s.hidden_size == 64 && s.n_kv_heads == 1 && s.clip_qkv == 0);
    moe_spec_free(&s);
    expect_fault("dbrx", "\"ffn_config\": {\"moe_top_k\": 5}", MOE_E_FORMAT, "ffn_config.moe_top_k: 5");
    expect_fault("dbrx", "\"attn_config\": {\"kv_n_heads\": \"x\"}", MOE_E_FORMAT, "attn_config.kv_n_heads");
    expect_fault("dbrx", "\"ffn_config\": {\"ffn_act_fn\": {\"name\": \"gelu\"}}", MOE_E_UNSUPPORTED, "gelu");
    expect_fault("dbrx", "\"tie_word_embeddings\": true", MOE_E_UNSUPPORTED, "tie_word_embeddings: true");
}

Test(layers, the_text_of_a_model_of_more) {
    struct moe_spec s =
        resolved("llama4", "\"text_config\": {\"model_type\": \"llama4_text\", \"hidden_size\": 32, "
                           "\"num_hidden_layers\": 6, \"vocab_size\": 50, "
                           "\"num_attention_heads\": 2, \"num_key_value_heads\": 1}");
    cr_expect(s.hidden_size == 32 && s.vocab_size == 50);
    cr_expect_str_eq(s.prefix, "language_model.");
    moe_spec_free(&s);
    s = resolved("mistral3", "\"text_config\": {\"model_type\": \"mistral4\", \"hidden_size\": 32, "
                             "\"num_hidden_layers\": 6, \"vocab_size\": 50, \"num_attention_heads\": 2, "
                             "\"tie_word_embeddings\": false}");
    cr_expect(s.tied, "what stands beside text_config counts, and is true when absent");
    cr_expect_str_eq(s.prefix, "language_model.");
    moe_spec_free(&s);
    s = resolved("llama4_text", "\"num_key_value_heads\": 4");
    cr_expect_str_eq(s.prefix, "");
    moe_spec_free(&s);
    expect_fault("llama4", "", MOE_E_FORMAT, "text_config: expected an object");
    expect_fault("llama4", "\"text_config\": []", MOE_E_FORMAT, "text_config: expected an object");
    expect_fault("mistral3", "\"text_config\": {\"model_type\": \"mistral\"}", MOE_E_UNSUPPORTED,
                 "text_config.model_type: \"mistral\" is not supported, only mistral4");
    expect_fault("mistral3", "\"text_config\": {\"model_type\": 4}", MOE_E_FORMAT, "text_config.model_type");
}

Test(layers, two_names_must_agree) {
    struct moe_spec s =
        resolved("qwen3_moe", "\"num_experts\": 6, \"num_local_experts\": 6, \"num_experts_per_tok\": 2");
    moe_spec_free(&s);
    expect_fault("qwen3_moe", "\"num_experts\": 6, \"num_local_experts\": 8, \"num_experts_per_tok\": 2",
                 MOE_E_FORMAT, "num_local_experts: 8, but num_experts is 6");
}
