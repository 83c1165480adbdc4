/* config.json to numbers: both styles, defaults, and every fault named by its key. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/spec.h"

static moe_error err;

/* Resolves a config that has these members beside the ones every config needs. */
static moe_status resolve(struct moe_spec *spec, const char *model_type, const char *members) {
    char text[4096];
    struct moe_json doc;
    int n = snprintf(
        text, sizeof text,
        "{\"model_type\": \"%s\", \"hidden_size\": 64, \"num_hidden_layers\": 4, \"vocab_size\": 100, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 512%s%s}",
        model_type, *members ? ", " : "", members);
    cr_assert_eq(moe_json_parse(&doc, "config.json", text, (size_t)n, &err), MOE_OK, "%s", err.message);
    moe_status status = moe_spec_resolve(spec, moe_json_root(&doc), &err);
    moe_json_close(&doc);
    return status;
}

static void expect_fault(const char *model_type, const char *members, moe_status status, const char *says) {
    struct moe_spec spec;
    cr_expect_eq(resolve(&spec, model_type, members), status, "%s: %s", members, err.message);
    cr_expect(strstr(err.message, says), "\"%s\" lacks \"%s\"", err.message, says);
    cr_expect(!strncmp(err.message, "config.json: ", 13), "%s", err.message);
    cr_expect_null(spec.layers);
}

Test(spec, defaults_are_those_of_the_family) {
    struct moe_spec s;
    cr_assert_eq(resolve(&s, "qwen3_moe", ""), MOE_OK, "%s", err.message);
    cr_expect_eq(s.n_experts, 128);
    cr_expect_eq(s.top_k, 8);
    cr_expect_eq(s.expert_width, 768);
    cr_expect_eq(s.head_dim, 16);
    cr_expect(!s.router.renorm && !s.bias_qkv && !s.bias_o && !s.tied);
    cr_expect_float_eq(s.norm_eps, 1e-6f, 1e-12);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "mixtral", ""), MOE_OK, "%s", err.message);
    cr_expect(s.router.renorm && s.n_experts == 8 && s.top_k == 2 && s.expert_width == 14336);
    cr_expect_float_eq(s.ropes[0].inv_freq[1], powf(1e6f, -1.0f / 8), 1e-6);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "qwen2_moe", ""), MOE_OK, "%s", err.message);
    cr_expect(s.bias_qkv && !s.bias_o && s.shared_width == 5632);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "olmoe", "\"clip_qkv\": 8, \"attention_bias\": true"), MOE_OK, "%s",
                 err.message);
    cr_expect(s.clip_qkv == 8 && s.bias_qkv && s.bias_o && s.n_kv_heads == 2);
    moe_spec_free(&s);
}

Test(spec, latent_attention_has_widths_of_its_own) {
    struct moe_spec s;
    cr_assert_eq(resolve(&s, "deepseek_v3", "\"head_dim\": 64"), MOE_OK, "%s", err.message);
    cr_expect(s.latent.q_rank == 1536 && s.latent.kv_rank == 512 && s.latent.value_dim == 128);
    cr_expect(s.n_kv_heads == 1 && s.head_dim == 192 && s.ropes[0].n_pairs == 32 && s.rope_interleaved);
    cr_expect_float_eq(s.attention_scale, 1 / sqrt(192), 1e-8);
    cr_expect(s.n_experts == 256 && s.top_k == 8 && s.shared_width == 2048 && s.dense_width == 18432);
    cr_expect(s.router.n_groups == 8 && s.router.top_groups == 4 && s.router.renorm);
    cr_expect_float_eq(s.router.scale, 2.5f, 1e-8);
    cr_expect(s.layers[2].dense && !s.layers[3].dense);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "kimi_k2",
                         "\"q_lora_rank\": null, \"rope_interleave\": false, \"rope_scaling\": {\"type\": "
                         "\"yarn\", \"factor\": 40, \"mscale\": 1, \"mscale_all_dim\": 1}"),
                 MOE_OK, "%s", err.message);
    double mscale = 0.1 * log(40) + 1;
    cr_expect(s.latent.q_rank == 0 && !s.rope_interleaved && s.ropes[0].attention == 1);
    cr_expect_float_eq(s.attention_scale, mscale * mscale / sqrt(192), 1e-7);
    moe_spec_free(&s);
    expect_fault("deepseek_v3", "\"kv_lora_rank\": 0", MOE_E_FORMAT, "kv_lora_rank");
    expect_fault("deepseek_v3",
                 "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"mscale_all_dim\": 1e39}",
                 MOE_E_FORMAT, "rope_scaling.mscale_all_dim: the factor on scores that follows from 1e+39");
    expect_fault("deepseek_v3", "\"qk_rope_head_dim\": 7", MOE_E_UNSUPPORTED, "pairs");
    expect_fault("deepseek_v3", "\"v_head_dim\": null", MOE_E_FORMAT, "v_head_dim");
}

Test(spec, groups_of_experts_must_fit) {
    struct moe_spec s;
    static const char *const faults[][2] = {
        {"\"n_group\": 3", "n_group"},
        {"\"topk_group\": 9", "topk_group"},
        {"\"topk_group\": null", "topk_group"},
        {"\"n_routed_experts\": 8, \"num_experts_per_tok\": 2", "n_group"},
        {"\"topk_group\": 1, \"num_experts_per_tok\": 33", "num_experts_per_tok"},
        {"\"n_shared_experts\": 1000000", "n_shared_experts"},
        {"\"routed_scaling_factor\": 0", "routed_scaling_factor"},
        {"\"first_k_dense_replace\": -1", "first_k_dense_replace"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        expect_fault("deepseek_v3", faults[i][0], MOE_E_FORMAT, faults[i][1]);
    expect_fault("deepseek_v2", "\"num_experts_per_tok\": 2, \"topk_method\": \"noaux_tc\"",
                 MOE_E_UNSUPPORTED, "noaux_tc");
    expect_fault("deepseek_v2", "\"num_experts_per_tok\": 2, \"topk_method\": \"group_limited_greedy\"",
                 MOE_E_FORMAT, "n_group");
    cr_assert_eq(resolve(&s, "deepseek_v2", "\"num_experts_per_tok\": 2, \"n_group\": 3"), MOE_OK, "%s",
                 err.message);
    cr_expect_eq(s.router.n_groups, 1, "greedy reads no groups");
    moe_spec_free(&s);
}

Test(spec, gpt_oss_without_rope_settings_has_yarn) {
    struct moe_spec absent, null, empty;
    cr_assert_eq(resolve(&absent, "gpt_oss", ""), MOE_OK, "%s", err.message);
    cr_assert_eq(resolve(&null, "gpt_oss", "\"rope_scaling\": null, \"rope_theta\": 150000"), MOE_OK, "%s",
                 err.message);
    cr_assert_eq(resolve(&empty, "gpt_oss", "\"rope_parameters\": {}"), MOE_OK, "%s", err.message);
    cr_expect(absent.head_dim == 64 && absent.bias_experts && absent.bias_o);
    cr_expect_float_eq(absent.ropes[0].attention, 0.1 * log(32) + 1, 1e-6);
    cr_expect_arr_eq(absent.ropes[0].inv_freq, null.ropes[0].inv_freq, 32 * sizeof(float));
    cr_expect_float_eq(empty.ropes[0].attention, 1, 1e-9, "an empty dictionary is type default");
    moe_spec_free(&absent);
    moe_spec_free(&null);
    moe_spec_free(&empty);
}

Test(spec, a_part_of_a_head_may_be_rotated) {
    struct moe_spec s;
    cr_assert_eq(resolve(&s, "glm4_moe", ""), MOE_OK, "%s", err.message);
    cr_expect(s.ropes[0].n_pairs == 4 && s.qk_norm == MOE_QK_NORM_NONE && !s.bias_o);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "glm4_moe",
                         "\"rope_parameters\": {\"partial_rotary_factor\": 0.25}, \"use_qk_norm\": true"),
                 MOE_OK, "%s", err.message);
    cr_expect(s.ropes[0].n_pairs == 2 && s.qk_norm == MOE_QK_NORM_PER_HEAD);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "qwen3_moe", "\"partial_rotary_factor\": 0.5"), MOE_OK, "%s", err.message);
    cr_expect_eq(s.ropes[0].n_pairs, 8, "type default reads it in glm4_moe alone");
    moe_spec_free(&s);
}

Test(spec, longrope_has_two_sets_of_factors) {
    struct moe_spec s;
    static const char settings[] = "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": "
                                   "[1,1,1,1,1,1,1,2], \"long_factor\": [4,4,4,4,4,4,4,4], "
                                   "\"original_max_position_embeddings\": 64%s}";
    char members[512];
    float inv_freq[8];
    snprintf(members, sizeof members, settings, "");
    cr_assert_eq(resolve(&s, "qwen3_moe", members), MOE_OK, "%s", err.message);
    double factor = sqrt(1 + log(512.0 / 64) / log(64));
    cr_expect_float_eq(moe_rope_frequencies(inv_freq, &s.ropes[0], 64), factor, 1e-6);
    cr_expect_float_eq(inv_freq[0], 1, 1e-7);
    cr_expect_float_eq(moe_rope_frequencies(inv_freq, &s.ropes[0], 65), factor, 1e-6);
    cr_expect_float_eq(inv_freq[0], 0.25, 1e-7);
    cr_expect(!s.ropes[0].recomputes);
    moe_spec_free(&s);
    expect_fault("phimoe", members, MOE_E_FORMAT, "short_mscale");
    snprintf(members, sizeof members, settings, ", \"short_mscale\": 1.5, \"long_mscale\": 2");
    cr_assert_eq(resolve(&s, "phimoe", members), MOE_OK, "%s", err.message);
    cr_expect_float_eq(moe_rope_frequencies(inv_freq, &s.ropes[0], 64), 1.5, 1e-7);
    cr_expect_float_eq(moe_rope_frequencies(inv_freq, &s.ropes[0], 65), 2, 1e-7);
    cr_expect_float_eq(inv_freq[0], 1, 1e-7, "long_factor is not used there");
    cr_expect(s.ropes[0].recomputes);
    moe_spec_free(&s);
    expect_fault("qwen3_moe", "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1]}",
                 MOE_E_FORMAT, "short_factor");
}

Test(spec, both_styles_of_config_mean_the_same) {
    struct moe_spec old, new;
    cr_assert_eq(resolve(&old, "qwen3_moe",
                         "\"num_experts\": 6, \"num_experts_per_tok\": 2, \"rope_theta\": 5000, "
                         "\"torch_dtype\": \"bfloat16\", "
                         "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}"),
                 MOE_OK, "%s", err.message);
    cr_assert_eq(resolve(&new, "qwen3_moe",
                         "\"num_local_experts\": 6, \"num_experts_per_tok\": 2, \"dtype\": \"bfloat16\", "
                         "\"rope_parameters\": "
                         "{\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 5000}"),
                 MOE_OK, "%s", err.message);
    cr_expect_eq(new.n_experts, 6);
    cr_expect_eq(old.n_experts, 6);
    cr_expect_arr_eq(old.ropes[0].inv_freq, new.ropes[0].inv_freq, old.ropes[0].n_pairs * sizeof(float));
    moe_spec_free(&old);
    moe_spec_free(&new);
}

static void expect_windows(const char *model_type, const char *members, const size_t windows[4]) {
    struct moe_spec s;
    cr_assert_eq(resolve(&s, model_type, members), MOE_OK, "%s: %s", members, err.message);
    for (size_t l = 0; l < 4; l++) cr_expect_eq(s.layers[l].window, windows[l], "%s: layer %zu", members, l);
    moe_spec_free(&s);
}

Test(spec, windows_follow_the_family) {
    expect_windows("qwen3_moe", "\"sliding_window\": 9", (size_t[]){0, 0, 0, 0});
    expect_windows("qwen3_moe", "\"sliding_window\": 9, \"use_sliding_window\": true",
                   (size_t[]){9, 9, 9, 9});
    expect_windows("qwen3_moe", "\"sliding_window\": null, \"use_sliding_window\": true",
                   (size_t[]){0, 0, 0, 0});
    expect_windows("qwen3_moe", "\"use_sliding_window\": true", (size_t[]){4096, 4096, 4096, 4096});
    expect_windows("mixtral", "\"sliding_window\": 9", (size_t[]){9, 9, 9, 9});
    expect_windows("mixtral", "\"sliding_window\": null", (size_t[]){0, 0, 0, 0});
    expect_windows("olmoe", "\"sliding_window\": 9", (size_t[]){0, 0, 0, 0});
    expect_windows("qwen2_moe", "\"sliding_window\": 0", (size_t[]){0, 0, 0, 0});
    expect_windows("gpt_oss", "", (size_t[]){128, 0, 128, 0});
    expect_windows("dots1",
                   "\"n_routed_experts\": 4, \"num_experts_per_tok\": 2, "
                   "\"sliding_window\": 9, \"max_window_layers\": 3",
                   (size_t[]){0, 0, 0, 9});
    expect_windows("qwen2_moe",
                   "\"sliding_window\": 9, \"use_sliding_window\": true, \"max_window_layers\": 2",
                   (size_t[]){9, 0, 0, 0});
    expect_windows(
        "qwen2_moe",
        "\"sliding_window\": 9, \"use_sliding_window\": true, \"layer_types\": [\"full_attention\", "
        "\"sliding_attention\", \"full_attention\", \"sliding_attention\"]",
        (size_t[]){0, 9, 0, 9});
}

Test(spec, dense_layers_follow_the_step_and_the_list) {
    struct moe_spec s;
    cr_assert_eq(resolve(&s, "qwen3_moe", "\"decoder_sparse_step\": 2, \"mlp_only_layers\": [3, 77]"), MOE_OK,
                 "%s", err.message);
    cr_expect(s.layers[0].dense && !s.layers[1].dense && s.layers[2].dense && s.layers[3].dense);
    moe_spec_free(&s);
}

Test(spec, dense_layers_by_interval) {
    struct moe_spec s;
    cr_assert_eq(
        resolve(&s, "ernie4_5_moe",
                "\"moe_layer_interval\": 2, \"moe_layer_start_index\": 2, \"moe_layer_end_index\": -1, "
                "\"moe_num_shared_experts\": 0"),
        MOE_OK, "%s", err.message);
    cr_expect(s.layers[0].dense && s.layers[1].dense && s.layers[2].dense && !s.layers[3].dense);
    cr_expect(s.tied && s.shared_width == 0 && s.rope_interleaved && s.router.renorm);
    cr_expect_float_eq(s.router.sum_min, 1e-12f, 1e-18);
    moe_spec_free(&s);
}

Test(spec, faults_name_their_key) {
    static const struct {
        const char *members, *says;
    } faults[] = {
        {"\"num_experts\": 0", "num_experts"},
        {"\"num_experts\": -4", "num_experts"},
        {"\"num_experts\": 2.5", "num_experts"},
        {"\"num_experts\": 1e300", "num_experts"},
        {"\"num_experts\": \"8\"", "num_experts"},
        {"\"num_experts\": null", "num_experts"},
        {"\"num_experts\": 4, \"num_experts_per_tok\": 5", "num_experts_per_tok"},
        {"\"moe_intermediate_size\": []", "moe_intermediate_size"},
        {"\"head_dim\": 15", "head_dim"},
        {"\"head_dim\": 0", "head_dim"},
        {"\"rms_norm_eps\": 0", "rms_norm_eps"},
        {"\"rms_norm_eps\": -1e-6", "rms_norm_eps"},
        {"\"rms_norm_eps\": 1e-60", "rms_norm_eps"},
        {"\"rms_norm_eps\": true", "rms_norm_eps"},
        {"\"rms_norm_eps\": null", "rms_norm_eps: expected a number, found null"},
        {"\"hidden_act\": null", "hidden_act"},
        {"\"rope_theta\": null", "rope_theta"},
        {"\"sliding_window\": \"x\"", "sliding_window"}, /* also where no layer has one */
        {"\"sliding_window\": 0.5", "sliding_window"},
        {"\"max_window_layers\": true", "max_window_layers"},
        {"\"pad_token_id\": []", "pad_token_id"},
        {"\"rope_theta\": 0", "rope_theta"},
        {"\"rope_theta\": \"1e4\"", "rope_theta"},
        {"\"norm_topk_prob\": 1", "norm_topk_prob"},
        {"\"tie_word_embeddings\": \"yes\"", "tie_word_embeddings"},
        {"\"mlp_only_layers\": 3", "mlp_only_layers"},
        {"\"mlp_only_layers\": [1.5]", "mlp_only_layers[0]"},
        {"\"decoder_sparse_step\": 0", "decoder_sparse_step"},
        {"\"use_sliding_window\": true, \"sliding_window\": 0", "sliding_window"},
        {"\"rope_scaling\": []", "rope_scaling"},
        {"\"rope_scaling\": {\"type\": \"linear\"}", "rope_scaling.factor"},
        {"\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", "rope_scaling.factor"},
        {"\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 1e308}", "rope_scaling.factor"},
        {"\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 1048577}",
         "rope_scaling.factor: expected at most"},
        {"\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 1e-46}", "rope_scaling.factor"},
        {"\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8}", "low_freq_factor"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        expect_fault("qwen3_moe", faults[i].members,
                     strstr(faults[i].says, "head_dim") && strstr(faults[i].members, "15") ? MOE_E_UNSUPPORTED
                                                                                           : MOE_E_FORMAT,
                     faults[i].says);
}

Test(spec, what_is_not_reproduced_is_refused_by_name) {
    expect_fault("qwen3_moe", "\"hidden_act\": \"gelu\"", MOE_E_UNSUPPORTED, "gelu");
    expect_fault("qwen3_moe", "\"rope_scaling\": {\"type\": \"axial\", \"factor\": 2}", MOE_E_UNSUPPORTED,
                 "axial");
    expect_fault("qwen3_moe", "\"quantization_config\": {\"quant_method\": \"gptq\"}", MOE_E_UNSUPPORTED,
                 "quantization_config.quant_method: \"gptq\"");
    expect_fault("llama", "", MOE_E_UNSUPPORTED, "llama");
#define MOE_REFUSED(type, lacks) expect_fault(type, "", MOE_E_UNSUPPORTED, lacks);
#include "models/refused.def"
#undef MOE_REFUSED
}

Test(spec, heads_must_divide) {
    struct moe_spec s;
    struct moe_json doc;
    static const struct {
        const char *text, *says;
    } faults[] = {
        {"{\"model_type\": \"mixtral\", \"hidden_size\": 64, \"num_hidden_layers\": 1, \"vocab_size\": 10, "
         "\"num_attention_heads\": 6, \"num_key_value_heads\": 4, \"head_dim\": 8}",
         "num_key_value_heads"},
        {"{\"model_type\": \"mixtral\", \"hidden_size\": 64, \"num_hidden_layers\": 1, \"vocab_size\": 10, "
         "\"num_attention_heads\": 6, \"num_key_value_heads\": 3}",
         "num_attention_heads"},
        {"{\"model_type\": \"mixtral\", \"num_hidden_layers\": 1, \"vocab_size\": 10, "
         "\"num_attention_heads\": 6}",
         "hidden_size"},
        {"{\"hidden_size\": 64}", "model_type"},
        {"[1]", "expected an object"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        cr_assert_eq(moe_json_parse(&doc, "config.json", faults[i].text, strlen(faults[i].text), &err),
                     MOE_OK);
        cr_expect_eq(moe_spec_resolve(&s, moe_json_root(&doc), &err), MOE_E_FORMAT, "%s", err.message);
        cr_expect(strstr(err.message, faults[i].says), "%s", err.message);
        moe_json_close(&doc);
    }
}
