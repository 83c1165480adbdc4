/* What a check finds before it looks at values: tensors, special ids, memory. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "copies.h"
#include "engine/check.h"
#include "tests/check/faults.h"
#include "tests/loader/files.h"

TestSuite(check, .init = files_begin, .fini = files_end);

static moe_error err;

static moe_check *open_check(const char *path, const moe_check_options *options) {
    moe_check *c;
    cr_assert_eq(moe_check_open(&c, path, options, &err), MOE_OK, "%s", err.message);
    return c;
}

/* ---- agreement with opening --------------------------------------------------------------------------- */

static void compare_with_model(const char *path, const moe_model_options *options) {
    moe_model *model;
    moe_memory_plan plan;
    size_t bytes;
    const moe_session_options session = {.context = 100, .max_rows = 7, .n_threads = 2};
    moe_check *c = open_check(path, &(moe_check_options){.model = *options});
    const moe_check_report *r = moe_check_get_report(c);
    cr_assert_eq(moe_model_open(&model, path, options, &err), MOE_OK, "%s", err.message);
    const moe_model_info *i = moe_model_get_info(model);
    cr_expect(r->n_faults == 0 && r->n_ids > 0 && r->n_tensors > 0);
    cr_expect_str_eq(r->model->family, i->family);
    cr_expect_eq(r->model->n_parameters, i->n_parameters);
    cr_assert_eq(moe_session_measure(&bytes, model, &session, &err), MOE_OK);
    cr_assert_eq(moe_check_memory(&plan, c, &session, &err), MOE_OK, "%s", err.message);
    cr_expect_eq(plan.cache + plan.scratch, bytes, "%s: %zu, expected %zu", path,
                 (size_t)(plan.cache + plan.scratch), bytes);
    cr_expect_eq(plan.needed, plan.copied + bytes);
    cr_expect(plan.runs == MOE_RUNS_IN_MEMORY && plan.needed <= plan.available);
    if (options->weights == MOE_WEIGHTS_MAPPED) {
        cr_expect_eq(r->model->weight_bytes, i->weight_bytes);
        cr_expect_str_eq(r->model->storage, i->storage);
        cr_expect_eq(plan.copied, model->weights.n_owned, "%s", path);
        cr_expect_eq(plan.mapped, i->weight_bytes - model->weights.n_replaced);
    } else {
        cr_expect_geq(plan.copied, model->weights.n_owned);
        cr_expect_leq(plan.copied, model->weights.n_owned + model->repacked.map_bytes);
    }
    moe_model_close(model);
    moe_check_close(c);
}

Test(check, every_fixture_is_whole) {
    DIR *d = opendir(MOE_FIXTURES "/exact");
    size_t n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[1024];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, MOE_FIXTURES "/exact/%s", e->d_name);
        compare_with_model(path, &(moe_model_options){.n_threads = 1});
        n++;
    }
    if (d) closedir(d);
    cr_expect_gt(n, 100);
}

Test(check, other_ways_to_open) {
    static const char *const names[] = {"olmoe-default", "gpt_oss-default", "deepseek_v3-fp8",
                                        "ernie4_5_moe-default", "gpt_oss-mxfp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int form = MOE_WEIGHTS_MAPPED; form <= MOE_WEIGHTS_PACKED; form++)
            for (int precision = MOE_PRECISION_FP32; precision <= MOE_PRECISION_BF16; precision++) {
                char path[1024];
                snprintf(path, sizeof path, MOE_FIXTURES "/exact/%s", names[i]);
                compare_with_model(path, &(moe_model_options){.weights = (moe_weights_form)form,
                                                              .precision = (moe_precision)precision,
                                                              .n_threads = 1});
            }
}

/* What opening refuses for another reason than a tensor is refused here in the same words. */
Test(check, refusals) {
    static const struct {
        moe_model_options options;
        const char *file, *old, *new;
    } cases[] = {
        {{.isa = "nothing"}, NULL, NULL, NULL},
        {{0}, "config.json", "\"qwen3_moe\"", "\"qwen9_moe\""},
        {{0}, "config.json", "\"num_hidden_layers\"", "\"num_hidden_lairs_\""},
        {{0}, "config.json", "{", "["},
        {{0}, "generation_config.json", "{", "["},
        {{0}, "model.safetensors", "\"dtype\":\"BF16\"", "\"dtype\":\"BF61\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_model *model;
        moe_check *c;
        moe_error expected;
        const char *path = copies_make("qwen3_moe-window");
        if (cases[i].file) copies_replace(cases[i].file, cases[i].old, cases[i].new);
        moe_status status = moe_model_open(&model, path, &cases[i].options, &expected);
        cr_assert_neq(status, MOE_OK, "%zu", i);
        const moe_check_options options = {.model = cases[i].options};
        cr_expect_eq(moe_check_open(&c, path, &options, &err), status);
        cr_expect_null(c);
        cr_expect_str_eq(err.message, expected.message);
    }
    moe_check *c;
    const moe_check_options bf16 = {.model = {.precision = MOE_PRECISION_BF16}},
                            synthetic = {.model = {.synthetic = true}};
    cr_expect_eq(moe_check_open(&c, copies_make("mixtral-mlx3-g32"), &bf16, &err), MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "precision bf16"), "%s", err.message);
    cr_expect_eq(moe_check_open(&c, files_path(""), &synthetic, &err), MOE_E_ARGUMENT);
    cr_expect_eq(moe_check_open(&c, files_path("none"), NULL, &err), MOE_E_IO);
    cr_expect_eq(moe_check_open(&c, files_path("none"), NULL, NULL), MOE_E_IO);
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static bool has_fault(const moe_check_report *r, const char *says) {
    bool found = false;
    for (size_t i = 0; i < r->n_faults_listed; i++) found |= contains(r->faults[i], says);
    return found;
}

static void expect_faults(const char *const *says, size_t n) {
    moe_memory_plan plan;
    moe_model *model;
    moe_check *c = open_check(files_path(""), NULL);
    const moe_check_report *r = moe_check_get_report(c);
    cr_expect_eq(r->n_faults, n, "%zu faults", r->n_faults);
    cr_expect_eq(r->n_faults_listed, n);
    for (size_t i = 0; i < n; i++) cr_expect(has_fault(r, says[i]), "%s", says[i]);
    /* the first of them is what opening says */
    cr_expect_neq(moe_model_open(&model, files_path(""), NULL, &err), MOE_OK);
    cr_expect_str_eq(r->faults[0], err.message);
    cr_expect_eq(moe_check_memory(&plan, c, &(moe_session_options){.context = 1}, &err), MOE_E_ARGUMENT);
    /* what is there is looked at all the same */
    cr_expect_eq(moe_check_values(c, &err), MOE_OK, "%s", err.message);
    cr_expect(r->n_values > 0 && r->n_tainted == 0 && !r->has_more_faults);
    cr_expect_null(r->model->storage);
    moe_check_close(c);
}

Test(check, all_faults_are_found) {
    copies_make("olmoe-default");
    copies_replace("model.safetensors", "\"model.layers.0.self_attn.k_norm.weight\"",
                   "\"model.layers.0.self_attn.k_norn.weight\"");
    copies_replace("model.safetensors", "\"lm_head.weight\"", "\"lm_hand.weight\"");
    copies_replace("model.safetensors", "\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[64,32]",
                   "\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[32,64]");
    copies_replace("model.safetensors", "\"model.layers.0.self_attn.q_proj.weight\":{\"dtype\":\"BF16\"",
                   "\"model.layers.0.self_attn.q_proj.weight\":{\"dtype\":\"I16\" ");
    copies_replace("model.safetensors", "\"model.layers.0.input_layernorm.weight\":{\"dtype\":\"BF16\"",
                   "\"model.layers.0.input_layernorm.weight\":{\"dtype\":\"U16\" ");
    static const char *const says[] = {
        "tensor model.embed_tokens.weight: shape [32, 64], expected [64, 32]",
        "tensor model.layers.0.input_layernorm.weight: dtype U16, expected F32, BF16 or F16",
        "tensor model.layers.0.self_attn.q_proj.weight: dtype I16, expected F32, BF16 or F16",
        "tensor model.layers.0.self_attn.k_norm.weight: missing", "tensor lm_head.weight: missing"};
    expect_faults(says, sizeof says / sizeof *says);
}

/* Where experts lie in one tensor, and where a matrix is split or transposed when it is bound. */
Test(check, faults_of_stacks_and_parts) {
    copies_make("gpt_oss-default");
    copies_replace("model.safetensors", "\"model.layers.0.mlp.experts.down_proj\"",
                   "\"model.layers.0.mlp.experts.down_pro_\"");
    copies_replace("model.safetensors", "\"model.layers.1.mlp.experts.gate_up_proj_bias\"",
                   "\"model.layers.1.mlp.experts.gate_up_proj_bi_s\"");
    static const char *const fused[] = {"tensor model.layers.0.mlp.experts.down_proj: missing",
                                        "tensor model.layers.1.mlp.experts.gate_up_proj_bias: missing"};
    expect_faults(fused, 2);
    files_end();
    files_begin();
    copies_make("deepseek_v3-fp8");
    copies_replace("model.safetensors", "\"model.layers.0.self_attn.kv_b_proj.weight_scale_inv\"",
                   "\"model.layers.0.self_attn.kv_b_proj.weight_scale_in_\"");
    copies_replace("model.safetensors", "\"model.layers.0.mlp.experts.2.up_proj.weight\"",
                   "\"model.layers.0.mlp.experts.2.up_proj.we_ght\"");
    static const char *const fp8[] = {"tensor model.layers.0.self_attn.kv_b_proj.weight_scale_inv: missing",
                                      "tensor model.layers.0.mlp.experts.2.up_proj.weight: missing"};
    expect_faults(fp8, 2);
    files_end();
    files_begin();
    copies_make("qwen3_moe-mlx4-g64");
    copies_replace("model.safetensors", "\"model.layers.0.mlp.switch_mlp.up_proj.scales\"",
                   "\"model.layers.0.mlp.switch_mlp.up_proj.scalez\"");
    copies_replace("model.safetensors", "\"model.layers.0.self_attn.q_proj.biases\"",
                   "\"model.layers.0.self_attn.q_proj.biazes\"");
    copies_replace("model.safetensors.index.json", "\"model.layers.0.mlp.switch_mlp.up_proj.scales\"",
                   "\"model.layers.0.mlp.switch_mlp.up_proj.scalez\"");
    copies_replace("model.safetensors.index.json", "\"model.layers.0.self_attn.q_proj.biases\"",
                   "\"model.layers.0.self_attn.q_proj.biazes\"");
    static const char *const mlx[] = {"tensor model.layers.0.mlp.switch_mlp.up_proj.scales: missing",
                                      "tensor model.layers.0.self_attn.q_proj.biases: missing"};
    expect_faults(mlx, 2);
}

/* A config.json that asks for more than can be listed, or counted in reasonable time. */
Test(check, faults_without_end) {
    copies_make("olmoe-default");
    copies_replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000");
    moe_check *c = open_check(files_path(""), NULL);
    const moe_check_report *r = moe_check_get_report(c);
    cr_expect(r->n_faults == 10000 && r->has_more_faults && r->n_faults_listed == 20);
    cr_expect(has_fault(r, "tensor model.layers.2.input_layernorm.weight: missing"), "%s", r->faults[0]);
    cr_expect_eq(moe_check_values(c, &err), MOE_OK, "%s", err.message);
    moe_check_close(c);
    c = open_check(files_path(""), &(moe_check_options){.max_listed = SIZE_MAX});
    cr_expect_eq(moe_check_get_report(c)->n_faults_listed, 10000);
    moe_check_close(c);
}

/* ---- special ids -------------------------------------------------------------------------------------- */

static void expect_ids(const moe_check_id *expected, size_t n, size_t n_outside) {
    moe_check *c = open_check(files_path(""), NULL);
    const moe_check_report *r = moe_check_get_report(c);
    cr_assert_eq(r->n_ids, n, "%zu", r->n_ids);
    cr_expect_eq(r->n_ids_outside, n_outside);
    for (size_t i = 0; i < n; i++) {
        cr_expect_str_eq(r->ids[i].file, expected[i].file);
        cr_expect_str_eq(r->ids[i].key, expected[i].key);
        cr_expect(r->ids[i].id == expected[i].id && r->ids[i].is_inside == expected[i].is_inside);
    }
    moe_check_close(c);
}

/* The vocabulary has 64 tokens. */
Test(check, special_ids) {
    static const char config[] = "config.json", generation[] = "generation_config.json";
    copies_make("olmoe-default");
    expect_ids((const moe_check_id[]){{config, "eos_token_id", 63, true},
                                      {config, "pad_token_id", 1, true},
                                      {generation, "eos_token_id", 63, true},
                                      {generation, "eos_token_id", 62, true}},
               4, 0);
    copies_replace(config, "\"eos_token_id\": 63", "\"bos_token_id\": 64, \"eos_token_id\": [0, 2147483647]");
    copies_replace(config, "\"pad_token_id\": 1", "\"pad_token_id\": null");
    files_text(generation, "{\"pad_token_id\": -1, \"eos_token_id\": 5}");
    expect_ids((const moe_check_id[]){{config, "bos_token_id", 64, false},
                                      {config, "eos_token_id", 0, true},
                                      {config, "eos_token_id", 2147483647, false},
                                      {generation, "eos_token_id", 5, true},
                                      {generation, "pad_token_id", -1, true}},
               5, 2);
    cr_assert_eq(unlink(files_path(generation)), 0);
    moe_check *c = open_check(files_path(""), NULL);
    cr_expect_eq(moe_check_get_report(c)->n_ids, 3);
    moe_check_close(c);
    files_text(generation, "{\"pad_token_id\": \"<pad>\"}");
    cr_expect_eq(moe_check_open(&c, files_path(""), NULL, &err), MOE_E_FORMAT);
    cr_expect(contains(err.message, "generation_config.json: pad_token_id: expected"), "%s", err.message);
    files_text(generation, "{\"pad_token_id\": [1, 1, 1, 1, 1]}");
    for (int i = 0; i < 4; i++)
        copies_replace(generation, "1, 1", "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1");
    cr_expect_eq(moe_check_open(&c, files_path(""), NULL, &err), MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "more than 64 special ids"), "%s", err.message);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

static moe_memory_plan measure(const moe_check *c, size_t context) {
    moe_memory_plan plan;
    const moe_session_options session = {.context = context, .max_rows = 1, .n_threads = 1};
    cr_assert_eq(moe_check_memory(&plan, c, &session, &err), MOE_OK, "%s", err.message);
    return plan;
}

/* The cache grows with the context until a session would be refused; then so says the plan. */
Test(check, memory_of_a_context) {
    moe_session *session;
    moe_model *model;
    char path[] = MOE_FIXTURES "/exact/qwen3_moe-default";
    moe_check *c = open_check(path, NULL);
    cr_assert_eq(moe_model_open(&model, path, NULL, &err), MOE_OK);
    const moe_memory_plan small = measure(c, 64), twice = measure(c, 128);
    cr_expect_lt(small.cache, twice.cache);
    cr_expect_geq(2 * small.cache, twice.cache);
    cr_expect_eq(small.scratch, twice.scratch);
    cr_expect(small.total >= small.available && small.limit > 0);
    moe_memory_plan plan = small;
    size_t context = 1 << 10;
    for (; context <= 1 << 28 && plan.runs != MOE_RUNS_NOT; context *= 2) plan = measure(c, context);
    if (plan.runs == MOE_RUNS_NOT) {
        const moe_session_options options = {.context = context / 2, .max_rows = 1, .n_threads = 1};
        cr_expect_gt(plan.needed, plan.available);
        cr_expect_eq(moe_session_open(&session, model, &options, &err), MOE_E_MEMORY);
    }
    const moe_session_options endless = {.context = SIZE_MAX / 2}, none = {0};
    cr_expect_eq(moe_check_memory(&plan, c, &endless, &err), MOE_E_ARGUMENT);
    cr_expect_eq(plan.runs, MOE_RUNS_NOT);
    cr_expect_eq(moe_check_memory(&plan, c, &none, &err), MOE_E_ARGUMENT);
    moe_model_close(model);
    moe_check_close(c);
}

enum { VOCAB = 1 << 24, DIM = 16, WIDTH = 8, EXPERTS = 2 };

/* One layer of `hidden`, tied, in a file of holes; false if the file system takes none so large. */
static bool write_holes(size_t hidden) {
    const struct {
        const char *name;
        size_t rows, cols;
    } tensors[] = {{"embed_tokens", VOCAB, hidden},
                   {"norm", 0, hidden},
                   {"layers.0.input_layernorm", 0, hidden},
                   {"layers.0.post_attention_layernorm", 0, hidden},
                   {"layers.0.self_attn.q_proj", DIM, hidden},
                   {"layers.0.self_attn.k_proj", DIM, hidden},
                   {"layers.0.self_attn.v_proj", DIM, hidden},
                   {"layers.0.self_attn.o_proj", hidden, DIM},
                   {"layers.0.self_attn.q_norm", 0, DIM},
                   {"layers.0.self_attn.k_norm", 0, DIM},
                   {"layers.0.mlp.gate", EXPERTS, hidden},
                   {"layers.0.mlp.experts.0.gate_proj", WIDTH, hidden},
                   {"layers.0.mlp.experts.0.up_proj", WIDTH, hidden},
                   {"layers.0.mlp.experts.0.down_proj", hidden, WIDTH},
                   {"layers.0.mlp.experts.1.gate_proj", WIDTH, hidden},
                   {"layers.0.mlp.experts.1.up_proj", WIDTH, hidden},
                   {"layers.0.mlp.experts.1.down_proj", hidden, WIDTH}};
    char header[4096] = "{", config[1024];
    size_t at = 1, n = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        size_t bytes = 2 * (tensors[i].rows ? tensors[i].rows : 1) * tensors[i].cols;
        char rows[32] = "";
        if (tensors[i].rows) snprintf(rows, sizeof rows, "%zu,", tensors[i].rows);
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"model.%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%s%zu],"
                               "\"data_offsets\":[%zu,%zu]}",
                               i ? "," : "", tensors[i].name, rows, tensors[i].cols, n, n + bytes);
        n += bytes;
    }
    snprintf(header + at, sizeof header - at, "}");
    snprintf(
        config, sizeof config,
        "{\"model_type\": \"qwen3_moe\", \"hidden_size\": %zu, \"num_hidden_layers\": 1, \"num_experts\": %d,"
        " \"num_experts_per_tok\": 1, \"moe_intermediate_size\": %d, \"vocab_size\": %d,"
        " \"num_attention_heads\": 1, \"num_key_value_heads\": 1, \"head_dim\": %d,"
        " \"tie_word_embeddings\": true}",
        hidden, EXPERTS, WIDTH, VOCAB, DIM);
    files_text("config.json", config);
    files_safetensors("model.safetensors", header, 0);
    return truncate(files_path("model.safetensors"), (off_t)(8 + at + 1 + n)) == 0;
}

/* A file so large that its embedding is twice what the machine has: it is mapped, and nothing of it is read.
 */
Test(check, weights_larger_than_memory) {
    moe_check *c = open_check(MOE_FIXTURES "/exact/qwen3_moe-default", NULL);
    const moe_memory_plan here = measure(c, 64);
    moe_check_close(c);
    if (here.total == UINT64_MAX) cr_skip_test("the system does not tell how much memory it has");
    if (!write_holes((size_t)(2 * here.total / (2 * (size_t)VOCAB)) + 1))
        cr_skip_test("the file system takes no file as large");
    c = open_check(files_path(""), NULL);
    moe_memory_plan plan = measure(c, 64);
    cr_expect_eq(plan.runs, MOE_RUNS_FROM_DISK);
    cr_expect_gt(plan.mapped, 2 * here.total);
    moe_check_close(c);
    c = open_check(files_path(""), &(moe_check_options){.model = {.weights = MOE_WEIGHTS_HUGE}});
    plan = measure(c, 64);
    cr_expect_eq(plan.runs, MOE_RUNS_NOT);
    cr_expect(plan.mapped == 0 && plan.copied > 2 * here.total);
    moe_model *model;
    cr_expect_eq(
        moe_model_open(&model, files_path(""), &(moe_model_options){.weights = MOE_WEIGHTS_HUGE}, &err),
        MOE_E_MEMORY);
    moe_check_close(c);
}

/* ---- faults ------------------------------------------------------------------------------------------- */

static moe_status check_body(void *context, moe_error *error) {
    const char *path = context;
    moe_check *c;
    moe_memory_plan plan;
    const moe_check_options options = {.model = {.n_threads = 2}, .max_listed = 3};
    moe_status status = moe_check_open(&c, path, &options, error);
    cr_assert((c != NULL) == (status == MOE_OK));
    if (status == MOE_OK && !moe_check_get_report(c)->n_faults)
        status = moe_check_memory(&plan, c, &(moe_session_options){.context = 10}, error);
    if (status == MOE_OK) status = moe_check_values(c, error);
    moe_check_close(c);
    return status;
}

Test(check, calls_that_fail) {
    char whole[] = MOE_FIXTURES "/exact/qwen3_moe-tied", stacked[] = MOE_FIXTURES "/exact/gpt_oss-mxfp4";
    cr_expect_geq(faults_check("a check of two files", check_body, whole, MOE_OK), 100);
    cr_expect_geq(faults_check("a check of stacks", check_body, stacked, MOE_OK), 80);
    copies_make("olmoe-default");
    copies_replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    char faulty[512];
    snprintf(faulty, sizeof faulty, "%s", files_path(""));
    cr_expect_geq(faults_check("a check that finds faults", check_body, faulty, MOE_OK), 80);
}
