/* What config.json says of quantised weights: by module, with the defaults of mlx and transformers; the rest
 * refused by key and value. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/quantization.h"
#include "tests/check/faults.h"

static moe_error err;

static moe_status read_text(struct moe_quantization *q, const char *text) {
    struct moe_json doc;
    cr_assert_eq(moe_json_parse(&doc, "some/config.json", text, strlen(text), &err), MOE_OK, "%s: %s", text,
                 err.message);
    moe_status status = moe_quantization_read(q, moe_json_root(&doc), &err);
    moe_json_close(&doc); /* nothing of it is borrowed */
    return status;
}

static struct moe_quantization read_good(const char *text) {
    struct moe_quantization q;
    cr_assert_eq(read_text(&q, text), MOE_OK, "%s: %s", text, err.message);
    return q;
}

Test(quantization, methods) {
    static const struct {
        const char *text;
        bool mlx;
        const char *key;
    } cases[] = {
        {"{}", false, "quantization_config"},
        {"{\"quantization\": null, \"quantization_config\": null}", false, "quantization_config"},
        {"{\"quantization\": {\"group_size\": 64, \"bits\": 4}}", true, "quantization"},
        {"{\"quantization_config\": {\"group_size\": 64, \"bits\": 4}}", true, "quantization_config"},
        /* mlx-lm's own word is the last one */
        {"{\"quantization_config\": {\"quant_method\": \"gptq\"}, \"quantization\": {\"group_size\": 64, "
         "\"bits\": 4}}",
         true, "quantization"},
        {"{\"quantization_config\": {\"quant_method\": \"mxfp4\", \"modules_to_not_convert\": [\"lm_head\"]}}",
         false, "quantization_config"},
        {"{\"quantization_config\": {\"quant_method\": \"fp8\"}}", false, "quantization_config"},
        {"{\"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128], "
         "\"activation_scheme\": \"dynamic\", \"fmt\": \"e4m3\", \"scale_fmt\": \"ue8m0\", \"expert_dtype\": "
         "\"fp8\"}}",
         false, "quantization_config"},
        {"{\"quantization_config\": {\"quant_method\": \"fp8\", \"scale_fmt\": \"float\", \"expert_dtype\": "
         "null}}",
         false, "quantization_config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct moe_quantization q = read_good(cases[i].text);
        cr_expect_eq(q.mlx, cases[i].mlx, "%s", cases[i].text);
        cr_expect_str_eq(q.key, cases[i].key, "%s", cases[i].text);
        cr_expect_str_eq(q.file, "some/config.json");
        moe_quantization_free(&q);
        cr_expect(!q.file && !q.modules && !q.strings && !q.names.entries);
    }
}

static void expect_module(const struct moe_quantization *q, const char *module, bool quantised,
                          enum moe_format format, size_t group_size) {
    const struct moe_module_quantization *m = moe_quantization_module(q, module);
    cr_expect_eq(m->quantised, quantised, "%s", module);
    if (!quantised) return;
    cr_expect_eq(m->format, format, "%s: %s", module, moe_format_name(m->format));
    cr_expect_eq(m->group_size, group_size, "%s: %zu", module, m->group_size);
}

/* Both in mlx-lm's order (the settings first) and in any other. */
Test(quantization, modules_have_settings_of_their_own) {
    struct moe_quantization q = read_good(
        "{\"quantization\": {\"model.layers.0.mlp.gate\": {\"group_size\": 128, \"bits\": 8}, \"a.true\": true, "
        "\"group_size\": 32, \"bits\": 4, \"mode\": \"mxfp4\", \"lm_head\": false, "
        "\"a.note\": \"mine\", \"version\": 4, \"a.nothing\": null, \"a.list\": [4], \"a.bits\": {\"bits\": 6}, \"a.group\": {\"group_size\": 128, \"mode\": \"affine\"}, \"a.none\": {}, "
        "\"a.null\": {\"bits\": null, \"group_size\": null, \"mode\": null}, \"a.mxfp4\": {\"mode\": "
        "\"mxfp4\"}, \"\": {\"bits\": 3.0}, \"\\u00e4 \\\"%s.quantization\": {\"bits\": 2}}}");
    expect_module(&q, "model.layers.0.mlp.gate", true, MOE_FORMAT_AFFINE8, 128);
    expect_module(&q, "a.true", true, MOE_FORMAT_MXFP4, 32);
    expect_module(&q, "lm_head", false, MOE_FORMAT_F32, 0);
    /* without a mode it is affine, and what is not said comes from the mode, not from the top level */
    expect_module(&q, "a.bits", true, MOE_FORMAT_AFFINE6, 64);
    expect_module(&q, "a.note", true, MOE_FORMAT_MXFP4, 32); /* no settings: those of the top level */
    expect_module(&q, "a.group", true, MOE_FORMAT_AFFINE4, 128);
    expect_module(&q, "a.none", true, MOE_FORMAT_AFFINE4, 64);
    expect_module(&q, "a.null", true, MOE_FORMAT_AFFINE4, 64);
    expect_module(&q, "a.mxfp4", true, MOE_FORMAT_MXFP4, 32);
    expect_module(&q, "", true, MOE_FORMAT_AFFINE3, 64);
    expect_module(&q, "\xc3\xa4 \"%s.quantization", true, MOE_FORMAT_AFFINE2, 64);
    /* exact names only */
    expect_module(&q, "model.layers.0.mlp.gate.", true, MOE_FORMAT_MXFP4, 32);
    expect_module(&q, "model.layers.0.mlp", true, MOE_FORMAT_MXFP4, 32);
    expect_module(&q, "group_size", true, MOE_FORMAT_MXFP4, 32);
    moe_quantization_free(&q);
}

Test(quantization, every_size_that_exists) {
    static const struct {
        int bits;
        enum moe_format format;
    } sizes[] = {{2, MOE_FORMAT_AFFINE2}, {3, MOE_FORMAT_AFFINE3}, {4, MOE_FORMAT_AFFINE4},
                 {5, MOE_FORMAT_AFFINE5}, {6, MOE_FORMAT_AFFINE6}, {8, MOE_FORMAT_AFFINE8}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t group = 32; group <= 128; group *= 2) {
            char text[128];
            snprintf(text, sizeof text, "{\"quantization\": {\"bits\": %d, \"group_size\": %zu}}",
                     sizes[i].bits, group);
            struct moe_quantization q = read_good(text);
            expect_module(&q, "any", true, sizes[i].format, group);
            moe_quantization_free(&q);
        }
}

/* Looked up by hash: as many modules as a large model has are no work. */
Test(quantization, many_modules) {
    enum { N = 100000 };
    char *text = malloc(N * 64), *at = text + sprintf(text, "{\"quantization\": {\"group_size\": 64, ");
    for (int i = 0; i < N; i++)
        at += sprintf(at, "\"model.layers.%d.proj\": {\"bits\": %d}, ", i, i % 2 ? 8 : 3);
    sprintf(at, "\"bits\": 4}}");
    struct moe_quantization q = read_good(text);
    for (int i = 0; i < N; i++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%d.proj", i);
        expect_module(&q, name, true, i % 2 ? MOE_FORMAT_AFFINE8 : MOE_FORMAT_AFFINE3, 64);
    }
    expect_module(&q, "model.layers.100000.proj", true, MOE_FORMAT_AFFINE4, 64);
    moe_quantization_free(&q);
    free(text);
}

#define MLX(members)    "{\"quantization\": {\"group_size\": 64, \"bits\": 4" members "}}"
#define CONFIG(members) "{\"quantization_config\": {" members "}}"
#define FP8(members)    CONFIG("\"quant_method\": \"fp8\", " members)

Test(quantization, what_is_not_reproduced_is_refused_by_name) {
    static const struct {
        const char *text, *says;
    } faults[] = {
        {CONFIG("\"quant_method\": \"gptq\""), "quantization_config.quant_method: \"gptq\" is not supported"},
        {MLX(", \"quant_method\": \"awq\""), "quantization.quant_method: \"awq\""},
        {CONFIG("\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 128"), "\"awq\""},
        {CONFIG("\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true"), "\"bitsandbytes\""},
        {CONFIG("\"quant_method\": \"compressed-tensors\""), "\"compressed-tensors\""},
        {CONFIG("\"quant_method\": \"fbgemm_fp8\""), "\"fbgemm_fp8\""},
        {CONFIG("\"quant_method\": \"modelopt\""), "\"modelopt\""},
        {CONFIG("\"quant_method\": \"mxfp8\""), "\"mxfp8\""},
        {CONFIG("\"quant_method\": \"FP8\""), "\"FP8\""},
        {CONFIG("\"quant_method\": \"\""), "\"\""},
        {FP8("\"weight_block_size\": [64, 64]"),
         "quantization_config.weight_block_size: [64, 64] is not supported"},
        {FP8("\"weight_block_size\": [128, 64]"), "[128, 64]"},
        {FP8("\"weight_block_size\": [1, 128]"), "[1, 128]"},
        {FP8("\"weight_block_size\": null"), "quantization_config.weight_block_size: null is not supported"},
        {FP8("\"scale_fmt\": \"e5m2\""), "quantization_config.scale_fmt: \"e5m2\" is not supported"},
        {FP8("\"expert_dtype\": \"fp4\""), "quantization_config.expert_dtype: \"fp4\" is not supported"},
        {MLX(", \"mode\": \"nvfp4\""), "quantization.mode: \"nvfp4\" is not supported"},
        {MLX(", \"mode\": \"mxfp8\""), "quantization.mode: \"mxfp8\" is not supported"},
        {MLX(", \"a.b\": {\"mode\": \"nvfp4\"}"), "quantization.a.b.mode: \"nvfp4\" is not supported"},
        {MLX(", \"a.b\": {\"bits\": 7}"), "quantization.a.b.bits: 7 is not supported in mode \"affine\""},
        {MLX(", \"a.b\": {\"bits\": 1}"), "quantization.a.b.bits: 1 "},
        {MLX(", \"a.b\": {\"bits\": 16}"), "quantization.a.b.bits: 16 "},
        {MLX(", \"a.b\": {\"group_size\": 16}"), "quantization.a.b.group_size: 16 is not supported in mode"},
        {MLX(", \"a.b\": {\"group_size\": 256}"), "quantization.a.b.group_size: 256 "},
        {MLX(", \"mode\": \"mxfp4\""), "quantization.group_size: 64 is not supported in mode \"mxfp4\""},
        {MLX(", \"a.b\": {\"mode\": \"mxfp4\", \"bits\": 8}"),
         "quantization.a.b.bits: 8 is not supported in mode \"mxfp4\""},
        {MLX(", \"a.b\": {\"global_scale\": true}"),
         "quantization.a.b.global_scale: this setting is not supported"},
        {"{\"quantization\": {\"group_size\": 2147483647, \"bits\": 4}}",
         "quantization.group_size: 2147483647 "},
        {"{\"quantization\": {\"group_size\": 64, \"bits\": 2147483647}}", "quantization.bits: 2147483647 "},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct moe_quantization q;
        cr_expect_eq(read_text(&q, faults[i].text), MOE_E_UNSUPPORTED, "%s: %s", faults[i].text, err.message);
        cr_expect(strstr(err.message, faults[i].says), "\"%s\" lacks \"%s\"", err.message, faults[i].says);
        cr_expect(!strncmp(err.message, "some/config.json: quantization", 30), "%s", err.message);
        cr_expect(!q.file && !q.modules);
    }
}

Test(quantization, faults_name_their_key) {
    static const struct {
        const char *text, *says;
    } faults[] = {
        {"{\"quantization\": true}", "quantization: expected an object"},
        {"{\"quantization\": \"fp8\"}", "quantization: expected an object"},
        {"{\"quantization\": {}}", "quantization.group_size: missing"},
        {"{\"quantization\": {\"bits\": 4}}", "quantization.group_size: missing"},
        {"{\"quantization\": {\"bits\": 4, \"group_size\": null}}", "quantization.group_size: missing"},
        {"{\"quantization\": {\"group_size\": 64}}", "quantization.bits: missing"},
        {"{\"quantization\": {\"group_size\": \"64\", \"bits\": 4}}",
         "quantization.group_size: expected an int"},
        {"{\"quantization\": {\"group_size\": 64, \"bits\": 4.5}}", "quantization.bits: expected an integer"},
        {"{\"quantization\": {\"group_size\": 0, \"bits\": 4}}",
         "quantization.group_size: expected an integer"},
        {"{\"quantization\": {\"group_size\": 64, \"bits\": -4}}", "quantization.bits: expected an integer"},
        {"{\"quantization\": {\"group_size\": 1e300, \"bits\": 4}}",
         "quantization.group_size: expected an int"},
        {MLX(", \"mode\": 4"), "quantization.mode: expected a string"},
        {MLX(", \"a.b\": {\"bits\": true}"), "quantization.a.b.bits: expected an integer"},
        {MLX(", \"a.b\": {\"group_size\": {}}"), "quantization.a.b.group_size: expected an integer"},
        {MLX(", \"a.b\": {\"mode\": false}"), "quantization.a.b.mode: expected a string"},
        {CONFIG(""), "quantization_config.quant_method: missing"},
        {CONFIG("\"bits\": 4"), "quantization_config.group_size: missing"},
        {CONFIG("\"group_size\": 64"), "quantization_config.bits: missing"},
        {CONFIG("\"load_in_8bit\": true"), "quantization_config.quant_method: missing"},
        {CONFIG("\"quant_method\": null, \"bits\": 4"), "quantization_config.quant_method: missing"},
        {CONFIG("\"quant_method\": 8"), "quantization_config.quant_method: expected a string"},
        {"{\"quantization_config\": []}", "quantization_config: expected an object"},
        {FP8("\"weight_block_size\": 128"), "quantization_config.weight_block_size: expected two integers"},
        {FP8("\"weight_block_size\": [128]"), "quantization_config.weight_block_size: expected two integers"},
        {FP8("\"weight_block_size\": [128, 128, 128]"), "weight_block_size: expected two integers"},
        {FP8("\"weight_block_size\": [128, \"128\"]"), "weight_block_size[1]: expected an integer"},
        {FP8("\"weight_block_size\": [0, 128]"), "weight_block_size[0]: expected an integer"},
        {FP8("\"scale_fmt\": 1"), "quantization_config.scale_fmt: expected a string"},
        {FP8("\"expert_dtype\": []"), "quantization_config.expert_dtype: expected a string"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct moe_quantization q;
        cr_expect_eq(read_text(&q, faults[i].text), MOE_E_FORMAT, "%s: %s", faults[i].text, err.message);
        cr_expect(strstr(err.message, faults[i].says), "\"%s\" lacks \"%s\"", err.message, faults[i].says);
        cr_expect(!strncmp(err.message, "some/config.json: quantization", 30), "%s", err.message);
        cr_expect(!q.file && !q.modules);
    }
}

static moe_status read_once(void *context, moe_error *e) {
    struct moe_quantization q;
    moe_status status = moe_quantization_read(&q, moe_json_root(context), e);
    cr_expect_eq(status == MOE_OK, q.file != NULL);
    moe_quantization_free(&q);
    return status;
}

Test(quantization, allocations_may_fail) {
    static const char good[] = MLX(", \"a.b\": {\"bits\": 8}, \"c\": false"),
                      bad[] = MLX(", \"a.b\": {\"bits\": true}");
    struct moe_json doc;
    cr_assert_eq(moe_json_parse(&doc, "config.json", good, strlen(good), &err), MOE_OK);
    cr_expect_geq(faults_check("quantization", read_once, &doc, MOE_OK), 6);
    moe_json_close(&doc);
    cr_assert_eq(moe_json_parse(&doc, "config.json", bad, strlen(bad), &err), MOE_OK);
    cr_expect_geq(faults_check("bad quantization", read_once, &doc, MOE_E_FORMAT), 4);
    moe_json_close(&doc);
}
