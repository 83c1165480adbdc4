/* What a session refuses, states and never does: allocate while it evaluates. */
#include <criterion/criterion.h>
#include <string.h>

#include "requests.h"
#include "tests/check/seam.h"

static void expect_no_allocation(const char *fixture) {
    moe_model *model = requests_open_model(fixture, NULL);
    const moe_session_options options = {.n_sequences = 2, .context = 100, .n_threads = 2};
    seam_begin(SEAM_COUNT, 0);
    moe_session *session = requests_open_session(model, &options);
    cr_assert_gt(seam_taken(), 0, "the guard sees nothing");
    seam_begin(SEAM_COUNT, 0);
    for (uint32_t at = 0; at < 100; at++) {
        const moe_row rows[] = {{0, at, at % 50, true}, {1, at, at % 31, true}};
        cr_assert_eq(moe_session_eval(session, rows, 2, NULL), MOE_OK);
    }
    seam_end();
    cr_expect_eq(seam_taken(), 0, "%s: %zu blocks and maps", fixture, seam_taken());
    moe_session_close(session);
    moe_model_close(model);
}

Test(session, evaluating_allocates_nothing) {
    expect_no_allocation("qwen2_moe-default");
    expect_no_allocation("deepseek_v3-default");
    expect_no_allocation("phimoe-longrope-grow"); /* which computes both sequences anew on the way */
}

static size_t bytes_of(const moe_model *model, size_t context) {
    size_t bytes;
    const moe_session_options options = {.context = context, .max_rows = 1, .n_threads = 1};
    cr_assert_eq(moe_session_measure(&bytes, model, &options, NULL), MOE_OK);
    return bytes;
}

/* What a position costs: keys and values of the kv heads, or a latent vector and the rotated key; nothing
 * past the window of a layer that has one. */
Test(session, the_cache_is_as_small_as_the_attention_allows) {
    static const struct {
        const char *fixture;
        size_t floats; /* per position, all layers */
    } cases[] = {
        {"qwen3_moe-default", 2 * 2 * 2 * 16},    /* 2 layers, 2 kv heads of 16 */
        {"deepseek_v3-default", 2 * (20 + 8)},    /* 2 layers, latent 20, rotated 8; 4 heads */
        {"gpt_oss-alternate", 1 * 2 * 2 * 16},    /* 3 layers, of which the middle one has no window */
        {"mixtral-window", 0},                    /* windows alone */
        {"longcat_flash-default", 4 * (20 + 8)},  /* 2 layers of two attentions each */
        {"mimo_v2_flash-default", 1 * (24 + 14)}, /* 2 layers, one of them full: one kv head, values of 14 */
        {"llama4_text-default", 1 * 2 * 2 * 16},  /* 2 layers, one of them in chunks */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_model *model = requests_open_model(cases[i].fixture, NULL);
        size_t more = bytes_of(model, 64 * 100) - bytes_of(model, 64 * 50);
        cr_expect_eq(more, 64 * 50 * cases[i].floats * sizeof(float), "%s: %zu floats", cases[i].fixture,
                     more / (64 * 50) / sizeof(float));
        moe_model_close(model);
    }
}

Test(session, refuses_rows_that_do_not_fit_and_stays_as_it_was) {
    moe_model *model = requests_open_model("qwen3_moe-default", NULL);
    uint32_t vocab = (uint32_t)moe_model_get_info(model)->vocab_size;
    const moe_session_options options = {.n_sequences = 2, .context = 8, .n_threads = 1};
    moe_session *session = requests_open_session(model, &options);
    const moe_row first[] = {{0, 0, 1, false}, {0, 1, 2, true}};
    cr_assert_eq(moe_session_eval(session, first, 2, NULL), MOE_OK);
    const struct {
        moe_row row;
        const char *says;
    } faults[] = {
        {{2, 0, 1, false}, "sequence 2"},      {{0, 8, 1, false}, "past the context"},
        {{0, 2, vocab, false}, "vocabulary"},  {{0, 3, 1, false}, "does not follow"},
        {{1, 1, 1, false}, "does not follow"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        moe_error err;
        const moe_row rows[] = {{1, 0, 1, false}, faults[i].row};
        size_t from = faults[i].row.sequence == 1 ? 1 : 0;
        cr_expect_eq(moe_session_eval(session, rows + from, 2 - from, &err), MOE_E_ARGUMENT, "%zu", i);
        cr_expect(strstr(err.message, faults[i].says), "%s", err.message);
        cr_expect_eq(moe_session_length(session, 0), 2);
        cr_expect_eq(moe_session_length(session, 1), 0);
    }
    const moe_row gap[] = {{0, 2, 1, false}, {0, 4, 1, false}},
                  wanted[] = {{0, 2, 1, true}, {0, 3, 1, true}, {0, 4, 1, true}};
    cr_expect_eq(moe_session_eval(session, gap, 2, NULL), MOE_E_ARGUMENT);
    cr_expect_eq(moe_session_eval(session, wanted, 3, NULL), MOE_E_ARGUMENT,
                 "more logits than the session holds");
    cr_expect_eq(moe_session_eval(session, NULL, 0, NULL), MOE_OK);
    cr_expect_eq(moe_session_length(session, 0), 2);
    moe_session_close(session);
    moe_model_close(model);
}

Test(session, states_its_memory_and_refuses_what_does_not_fit) {
    moe_model *model = requests_open_model("mixtral-default", NULL);
    moe_error err;
    size_t small, large;
    moe_session_options options = {.context = 64, .max_rows = 1, .n_threads = 1};
    cr_assert_eq(moe_session_measure(&small, model, &options, NULL), MOE_OK);
    options.context = 64 * 1024;
    cr_assert_eq(moe_session_measure(&large, model, &options, NULL), MOE_OK);
    cr_expect_gt(large, 256 * small, "the cache is what grows: %zu, %zu", small, large);
    moe_session *session;
    options.context = 1 << 28;
    options.n_sequences = 4096;
    cr_expect_eq(moe_session_open(&session, model, &options, &err), MOE_E_MEMORY);
    cr_expect_null(session);
    cr_expect(strstr(err.message, "MiB"), "%s", err.message);
    options.context = 0;
    cr_expect_eq(moe_session_open(&session, model, &options, &err), MOE_E_ARGUMENT);
    moe_model_close(model);
}

Test(session, counts_the_bytes_it_reads) {
    moe_model *model = requests_open_model("qwen3_moe-default", NULL);
    const moe_session_options options = {.context = 64, .n_threads = 1};
    moe_session *session = requests_open_session(model, &options);
    const moe_row row = {0, 0, 3, true};
    cr_assert_eq(moe_session_eval(session, &row, 1, NULL), MOE_OK);
    moe_counters c = moe_session_counters(session);
    cr_expect_eq(c.n_rows, 1);
    cr_expect_gt(c.flops, 0);
    cr_expect_gt(c.weight_bytes, 0);
    cr_expect_lt(c.weight_bytes, moe_model_get_info(model)->weight_bytes,
                 "one token cannot have read every expert");
    cr_expect_gt(c.cache_bytes, 0);
    moe_session_reset_counters(session);
    cr_expect_eq(moe_session_counters(session).n_rows, 0);
    moe_session_close(session);
    moe_model_close(model);
}
