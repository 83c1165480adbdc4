/* Opening, generating and packing with every call that can fail failing. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/moe.h"
#include "tests/check/faults.h"
#include "tests/check/seam.h"
#include "tests/loader/files.h"

TestSuite(engine_faults, .init = files_begin, .fini = files_end);

struct request {
    const char *fixture;
    moe_model_options options;
};

static moe_status generate(moe_session *session, moe_sampler *sampler, moe_error *err) {
    const moe_row prompt[] = {{0, 0, 3, false}, {0, 1, 5, true}};
    uint32_t ids[] = {3, 5, 0};
    MOE_TRY(moe_session_eval(session, prompt, 2, err));
    MOE_TRY(moe_sampler_choose(&ids[2], sampler, moe_session_logits(session, 0), ids, 2, 2, err));
    const moe_row row = {0, 2, ids[2], true};
    return moe_session_eval(session, &row, 1, err);
}

static moe_status request_body(void *context, moe_error *err) {
    const struct request *request = context;
    moe_model *model;
    moe_session *session = NULL;
    moe_sampler *sampler = NULL;
    moe_status status = moe_model_open(&model, request->fixture, &request->options, err);
    cr_assert((model != NULL) == (status == MOE_OK));
    const moe_session_options options = {.context = 70, .n_threads = request->options.n_threads};
    if (status == MOE_OK) status = moe_session_open(&session, model, &options, err);
    cr_assert((session != NULL) == (status == MOE_OK));
    const moe_sampling sampling = {
        .temperature = 0.7f, .top_k = 5, .top_p = 0.9f, .repeat_penalty = 1, .seed = 1};
    if (status == MOE_OK)
        status = moe_sampler_open(&sampler, moe_model_get_info(model)->vocab_size, &sampling, err);
    if (status == MOE_OK) status = generate(session, sampler, err);
    moe_sampler_close(sampler);
    moe_session_close(session);
    moe_model_close(model);
    return status;
}

/* One thread unless the options say otherwise: waiting for each other can take long where cores are few. */
static void check_request(const char *fixture, moe_model_options options, size_t at_least) {
    char path[400];
    snprintf(path, sizeof path, MOE_FIXTURES "/%s", fixture);
    if (!options.n_threads) options.n_threads = 1;
    struct request request = {path, options};
    size_t n = faults_check(fixture, request_body, &request, MOE_OK);
    cr_expect_geq(n, at_least, "%s: %zu calls that can fail", fixture, n);
}

Test(engine_faults, generating) {
    check_request("exact/qwen3_moe-tied", (moe_model_options){.n_threads = 2}, 100); /* two files, an index */
    check_request("exact/gpt_oss-mxfp4", (moe_model_options){0}, 80);
    check_request("exact/deepseek_v3-fp8", (moe_model_options){0}, 80);
    check_request("exact/phimoe-longrope-grow", (moe_model_options){0}, 80);
    check_request("exact/qwen3_moe-mlx4-g64", (moe_model_options){0}, 80);
}

Test(engine_faults, copying_and_packing_in_memory) {
    check_request("exact/olmoe-default", (moe_model_options){.weights = MOE_WEIGHTS_HUGE}, 80);
    check_request("exact/olmoe-default", (moe_model_options){.weights = MOE_WEIGHTS_PACKED}, 80);
    check_request("exact/mixtral-default/config.json", (moe_model_options){.synthetic = true}, 20);
    check_request("exact/mixtral-default",
                  (moe_model_options){.synthetic = true, .weights = MOE_WEIGHTS_PACKED}, 20);
}

struct packing {
    const char *model;
    char place[400];
    bool replace;
    size_t n_threads;
};

static moe_status pack_body(void *context, moe_error *err) {
    const struct packing *p = context;
    const moe_pack_options options = {.replace = p->replace, .n_threads = p->n_threads};
    moe_pack_report report;
    return moe_pack_checkpoint(&report, p->model, p->place, &options, err);
}

static size_t count_entries(const char *path) {
    size_t n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static void remove_entries(const char *path) {
    DIR *d = opendir(path);
    char inner[800];
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        unlink(inner);
    }
    if (d) closedir(d);
}

/* Whole or not at all: nothing is left behind by what failed, but for what the disk did not take after it had
 * its name, and nothing is missing after what did not. */
static moe_status pack_directory_body(void *context, moe_error *err) {
    const struct packing *p = context;
    moe_status status = pack_body(context, err);
    seam_pause();
    size_t n = count_entries(p->place);
    cr_assert(n == 5 || (status != MOE_OK && n == 0), "%s: status %d, %zu entries", p->place, (int)status, n);
    remove_entries(p->place);
    rmdir(p->place);
    cr_assert_eq(count_entries(files_path("")), 2);
    seam_resume();
    return status;
}

static moe_status pack_file_body(void *context, moe_error *err) {
    moe_status status = pack_body(context, err);
    seam_pause();
    size_t n = count_entries(files_path(""));
    cr_assert(n == 5 || (status != MOE_OK && n == 2), "%s: status %d, %zu entries", err->message, (int)status,
              n);
    remove_entries(files_path(""));
    seam_resume();
    return status;
}

static moe_status compare_body(void *context, moe_error *err) {
    const struct packing *p = context;
    const moe_pack_options options = {.n_threads = p->n_threads};
    moe_pack_report report;
    return moe_pack_compare(&report, p->model, p->place, &options, err);
}

static moe_status verify_body(void *context, moe_error *err) {
    const struct packing *p = context;
    const moe_pack_options options = {.n_threads = p->n_threads};
    moe_pack_report report;
    return moe_pack_verify(&report, p->place, &options, err);
}

static void check_packing(const char *label, faults_body *body, struct packing *p, const char *place,
                          size_t at_least) {
    snprintf(p->place, sizeof p->place, "%s", files_path(place));
    size_t n = faults_check(label, body, p, MOE_OK);
    cr_expect_geq(n, at_least, "%s: %zu calls that can fail", label, n);
}

Test(engine_faults, packing) {
    struct packing p = {.model = MOE_FIXTURES "/exact/ernie4_5_moe-correction", .n_threads = 1};
    check_packing("a directory", pack_directory_body, &p, "packed", 300);
    check_packing("a file", pack_file_body, &p, "packed.safetensors", 300);
}

Test(engine_faults, packed_files) {
    struct packing p = {
        .model = MOE_FIXTURES "/exact/ernie4_5_moe-correction", .n_threads = 1, .replace = true};
    snprintf(p.place, sizeof p.place, "%s", files_path("packed"));
    cr_assert_eq(pack_body(&p, NULL), MOE_OK);
    check_packing("replacing", pack_body, &p, "packed", 300);
    check_packing("comparing", compare_body, &p, "packed", 100);
    p.n_threads = 2;
    check_packing("verifying", verify_body, &p, "packed", 40);
    struct request request = {.fixture = p.place, .options = {.n_threads = 1}};
    faults_check("generating from packed weights", request_body, &request, MOE_OK);
}
