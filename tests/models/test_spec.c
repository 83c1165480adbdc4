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
    cr_expect_float_eq(s.rope.inv_freq[1], powf(1e6f, -1.0f / 8), 1e-6);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "qwen2_moe", ""), MOE_OK, "%s", err.message);
    cr_expect(s.bias_qkv && !s.bias_o && s.shared_width == 5632);
    moe_spec_free(&s);
    cr_assert_eq(resolve(&s, "olmoe", "\"clip_qkv\": 8, \"attention_bias\": true"), MOE_OK, "%s",
                 err.message);
    cr_expect(s.clip_qkv == 8 && s.bias_qkv && s.bias_o && s.n_kv_heads == 2);
    moe_spec_free(&s);
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
    cr_expect_arr_eq(old.rope.inv_freq, new.rope.inv_freq, old.rope.n_pairs * sizeof(float));
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
