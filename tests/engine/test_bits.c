/* One request gives one sequence of bits: alone or in a batch, with any number of threads, however its prompt
 * is cut, with any instruction set, with a kept prefix, wherever the weights lie and packed or not. The
 * reference is each request alone on one thread, scalar kernels. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "requests.h"

enum { N_REQUESTS = 9, CONTEXT = 160 };

/* one of each way through the pass; windows, so that the rings are tested too; sizes that are no multiple of
 * a vector; quantised weights */
static const char *const fixtures[] = {
    "qwen3_moe-window",  "qwen3_moe-odd",   "olmoe-clip",         "qwen2_moe-window", "qwen2_moe-dense",
    "mixtral-mixed",     "deepseek_v3-odd", "deepseek_v3-fp8",    "phimoe-default",   "dots1-window",
    "gpt_oss-alternate", "gpt_oss-mxfp4",   "qwen3_moe-mlx-mixed"};
enum { N_FIXTURES = sizeof fixtures / sizeof *fixtures };

/* How a model is opened. */
struct way {
    moe_weights_form form;
    moe_precision precision;
};

/* The requests served alone, each in a session of its own, weights where they lie. */
static size_t serve_alone(struct request *requests, const char *fixture, moe_precision precision) {
    moe_model *model = requests_open_form(fixture, "scalar", MOE_WEIGHTS_MAPPED, precision);
    size_t vocab = moe_model_get_info(model)->vocab_size;
    requests_make(requests, N_REQUESTS, vocab, 1);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        const moe_session_options options = {.context = CONTEXT, .max_logits = CONTEXT, .n_threads = 1};
        moe_session *session = requests_open_session(model, &options);
        requests[i].arrives = 0;
        requests_serve(session, vocab, 1, CONTEXT, &requests[i], 1);
        moe_session_close(session);
    }
    moe_model_close(model);
    return vocab;
}

static void expect_same(const struct request *got, const struct request *expected, const char *what) {
    for (size_t i = 0; i < N_REQUESTS; i++) {
        cr_expect_eq(got[i].n_tokens, expected[i].n_tokens, "%s: request %zu", what, i);
        cr_expect_arr_eq(got[i].tokens, expected[i].tokens, sizeof got[i].tokens, "%s: request %zu", what, i);
        cr_expect_eq(got[i].hash, expected[i].hash, "%s: request %zu: logits differ", what, i);
    }
}

/* More requests than slots, staggered arrivals, lengths and budgets. */
static void serve_together(const char *fixture, const char *isa, struct way way,
                           const struct request *expected, size_t n_threads, size_t n_slots, size_t chunk,
                           size_t max_rows) {
    struct request requests[N_REQUESTS];
    char what[128];
    moe_model *model = requests_open_form(fixture, isa, way.form, way.precision);
    size_t vocab = moe_model_get_info(model)->vocab_size;
    const moe_session_options options = {.n_sequences = n_slots,
                                         .context = CONTEXT,
                                         .max_logits = n_slots * chunk,
                                         .n_threads = n_threads,
                                         .max_rows = max_rows};
    moe_session *session = requests_open_session(model, &options);
    requests_make(requests, N_REQUESTS, vocab, 1);
    requests_serve(session, vocab, n_slots, chunk, requests, N_REQUESTS);
    snprintf(what, sizeof what,
             "%s, %s, form %d, precision %d, %zu threads, %zu slots, chunks of %zu, %zu rows", fixture,
             isa ? isa : "best", (int)way.form, (int)way.precision, n_threads, n_slots, chunk, max_rows);
    expect_same(requests, expected, what);
    moe_session_close(session);
    moe_model_close(model);
}

static const struct {
    size_t threads, slots, chunk, max_rows;
} cases[] = {{1, 1, 1, 0}, {2, 1, 7, 5}, {3, 4, 64, 0}, {7, 3, 17, 32}, {2, 9, 100, 512}};

static void serve_in_every_way(const char *fixture, struct way way) {
    struct request expected[N_REQUESTS];
    const char *isa;
    bool runs;
    serve_alone(expected, fixture, way.precision);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        serve_together(fixture, NULL, way, expected, cases[c].threads, cases[c].slots, cases[c].chunk,
                       cases[c].max_rows);
    for (size_t i = 1; (isa = moe_isa_name(i, &runs)); i++)
        if (runs) serve_together(fixture, isa, way, expected, 2, 3, 31, 0);
}

Test(bits, batch_threads_chunks_and_instruction_sets_change_nothing) {
    for (size_t f = 0; f < N_FIXTURES; f++)
        serve_in_every_way(fixtures[f], (struct way){.form = MOE_WEIGHTS_MAPPED});
}

/* What a layer, a block or a router can be besides: their ways through the pass cross the same barriers. */
Test(bits, nor_do_they_in_other_kinds_of_layers) {
    static const char *const others[] = {
        "llama4_text-default",       "longcat_flash-zero-experts", "cohere2_moe-prefix", "laguna-rope-types",
        "mimo_v2_flash-default",     "granitemoe_swa-thetas",      "afmoe-sandwich",     "flex_olmo-default",
        "hunyuan_v1_moe-top-k-list", "mistral4-default",           "dbrx-norm-2",        "axk1-default"};
    for (size_t f = 0; f < sizeof others / sizeof *others; f++) {
        struct request expected[N_REQUESTS];
        serve_alone(expected, others[f], MOE_PRECISION_FP32);
        serve_together(others[f], NULL, (struct way){.form = MOE_WEIGHTS_MAPPED}, expected, 3, 4, 64, 0);
        serve_together(others[f], NULL, (struct way){.form = MOE_WEIGHTS_PACKED}, expected, 2, 3, 7, 5);
    }
}

/* Copies are read as what was copied is: few ways will do. */
Test(bits, huge_pages_change_nothing) {
    for (size_t f = 0; f < N_FIXTURES; f++) {
        struct request expected[N_REQUESTS];
        serve_alone(expected, fixtures[f], MOE_PRECISION_FP32);
        serve_together(fixtures[f], NULL, (struct way){.form = MOE_WEIGHTS_HUGE}, expected, 3, 4, 64, 0);
    }
}

Test(bits, packing_changes_nothing) {
    static const char *const more[] = {"deepseek_v2-default", "gpt_oss-default", "ernie4_5_moe-default",
                                       "qwen2_moe-default"};
    for (size_t f = 0; f < N_FIXTURES; f++)
        serve_in_every_way(fixtures[f], (struct way){.form = MOE_WEIGHTS_PACKED});
    for (size_t f = 0; f < sizeof more / sizeof *more; f++)
        serve_in_every_way(more[f], (struct way){.form = MOE_WEIGHTS_PACKED});
}

/* Activations in bf16 have bits of their own, as much the same in every way. */
Test(bits, nor_do_they_with_activations_in_bf16) {
    static const char *const some[] = {"qwen3_moe-window",   "olmoe-clip",          "qwen2_moe-dense",
                                       "mixtral-mixed",      "deepseek_v3-default", "deepseek_v3-fp8",
                                       "phimoe-default",     "gpt_oss-default",     "qwen3_moe-unaligned",
                                       "qwen3_moe-mlx-mixed"};
    for (size_t f = 0; f < sizeof some / sizeof *some; f++) {
        struct request fp32[N_REQUESTS], bf16[N_REQUESTS];
        serve_alone(fp32, some[f], MOE_PRECISION_FP32);
        serve_alone(bf16, some[f], MOE_PRECISION_BF16);
        cr_expect_neq(fp32[0].hash, bf16[0].hash, "%s", some[f]);
        serve_in_every_way(some[f], (struct way){MOE_WEIGHTS_MAPPED, MOE_PRECISION_BF16});
        serve_in_every_way(some[f], (struct way){MOE_WEIGHTS_PACKED, MOE_PRECISION_BF16});
    }
}

Test(bits, activations_in_bf16_need_weights_in_bf16_and_native_products) {
    static const char *const without[] = {"qwen3_moe-odd", "deepseek_v3-tied", "qwen3_moe-mlx8-g64"};
    moe_model *model;
    moe_error err;
    char path[1024];
    for (size_t f = 0; f < sizeof without / sizeof *without; f++) {
        const moe_model_options options = {.precision = MOE_PRECISION_BF16};
        snprintf(path, sizeof path, MOE_FIXTURES "/exact/%s", without[f]);
        cr_expect_eq(moe_model_open(&model, path, &options, &err), MOE_E_UNSUPPORTED, "%s", path);
        cr_expect(strstr(err.message, "bf16") && !model, "%s", err.message);
    }
    const moe_model_options options = {.precision = MOE_PRECISION_BF16, .gemm = MOE_GEMM_OPENBLAS};
    cr_expect_eq(moe_model_open(&model, MOE_FIXTURES "/exact/olmoe-clip", &options, &err), MOE_E_UNSUPPORTED);
}

/* Evaluates tokens from .. to - 1 of a request in one call; returns the hash of the last row's logits. */
static uint64_t eval_range(moe_session *session, const struct request *r, size_t from, size_t to,
                           size_t vocab) {
    moe_row rows[REQUEST_MAX];
    moe_error err;
    for (size_t i = from; i < to; i++)
        rows[i - from] = (moe_row){.position = (uint32_t)i, .token = r->tokens[i], .logits = i + 1 == to};
    cr_assert_eq(moe_session_eval(session, rows, to - from, &err), MOE_OK, "%s", err.message);
    return requests_hash(requests_hash_start, moe_session_logits(session, 0), vocab * sizeof(float));
}

Test(bits, a_kept_prefix_gives_the_same_bits) {
    struct request r = {0};
    moe_model *model = requests_open_model("olmoe-default", NULL);
    size_t vocab = moe_model_get_info(model)->vocab_size, n = 150;
    for (size_t i = 0; i < n; i++) r.tokens[i] = (uint32_t)(i * i % vocab);
    const moe_session_options options = {.context = CONTEXT, .n_threads = 2};
    moe_session *session = requests_open_session(model, &options);
    uint64_t whole = eval_range(session, &r, 0, n, vocab);
    for (size_t keep = 1; keep < n; keep += 37)
        cr_expect_eq(eval_range(session, &r, keep, n, vocab), whole, "keep %zu", keep);
    moe_session_close(session);
    moe_model_close(model);
}

/* Past its length, dynamic RoPE depends on the length of the prompt: it must be said if the prompt is cut. */
Test(bits, an_expected_prompt_may_be_cut) {
    struct request r = {0};
    moe_model *model = requests_open_model("qwen3_moe-rope-dynamic", NULL);
    size_t vocab = moe_model_get_info(model)->vocab_size, n = 100;
    for (size_t i = 0; i < n; i++) r.tokens[i] = (uint32_t)(i * i % vocab);
    const moe_session_options options = {.context = CONTEXT, .n_threads = 2};
    moe_session *session = requests_open_session(model, &options);
    uint64_t whole = eval_range(session, &r, 0, n, vocab);
    moe_session_expect(session, 0, n);
    for (size_t at = 0; at < 90; at += 15) eval_range(session, &r, at, at + 15, vocab);
    cr_expect_eq(eval_range(session, &r, 90, n, vocab), whole);
    for (size_t at = 0; at < 90; at += 15) eval_range(session, &r, at, at + 15, vocab);
    cr_expect_neq(eval_range(session, &r, 90, n, vocab), whole, "the expectation outlived its prompt");
    moe_session_close(session);
    moe_model_close(model);
}

/* Phi-3.5-MoE computes a sequence anew where it passes its original length, here 16: its logits are those of
 * the whole sequence at once, on either side. */
Test(bits, a_sequence_that_becomes_long_is_computed_anew) {
    struct request r = {0};
    moe_model *model = requests_open_model("phimoe-longrope-grow", NULL);
    size_t vocab = moe_model_get_info(model)->vocab_size, n = 40;
    for (size_t i = 0; i < n; i++) r.tokens[i] = (uint32_t)(i * i % vocab);
    const moe_session_options options = {.context = CONTEXT, .n_threads = 2, .max_rows = 7};
    moe_session *session = requests_open_session(model, &options),
                *whole = requests_open_session(model, &options);
    for (size_t at = 0; at < n; at++)
        cr_expect_eq(eval_range(session, &r, at, at + 1, vocab), eval_range(whole, &r, 0, at + 1, vocab),
                     "%zu positions", at + 1);
    cr_expect_eq(eval_range(session, &r, 10, 14, vocab), eval_range(whole, &r, 0, 14, vocab), "short again");
    moe_session_expect(session, 0, n);
    for (size_t at = 0; at < n; at += 8) eval_range(session, &r, at, at + 8, vocab);
    cr_expect_eq(eval_range(session, &r, n - 1, n, vocab), eval_range(whole, &r, 0, n, vocab), "in chunks");
    moe_session_close(whole);
    moe_session_close(session);
    moe_model_close(model);
}

Test(bits, a_ring_says_what_it_forgot) {
    moe_error err;
    moe_model *model = requests_open_model("mixtral-window", NULL);
    size_t vocab = moe_model_get_info(model)->vocab_size, n = 2000;
    const moe_session_options options = {.context = n, .max_rows = 16, .n_threads = 1};
    moe_session *session = requests_open_session(model, &options);
    for (size_t at = 0; at < n; at++) {
        const moe_row row = {.position = (uint32_t)at, .token = (uint32_t)(at % vocab)};
        cr_assert_eq(moe_session_eval(session, &row, 1, &err), MOE_OK, "%s", err.message);
    }
    const moe_row early = {.position = 500, .token = 1}, late = {.position = (uint32_t)n - 1, .token = 1},
                  anew = {0};
    cr_expect_eq(moe_session_eval(session, &early, 1, &err), MOE_E_ARGUMENT);
    cr_expect(strstr(err.message, "forgotten"), "%s", err.message);
    cr_expect_eq(moe_session_eval(session, &late, 1, &err), MOE_OK);
    cr_expect_eq(moe_session_eval(session, &anew, 1, &err), MOE_OK);
    moe_session_close(session);
    moe_model_close(model);
}
