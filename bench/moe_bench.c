/* moe-bench: how fast a model runs here, and how far that is from what the machine can do.
 *
 * A machine is shared and its clock moves, so the limits are measured right before and right after each test,
 * with as many threads, and the result is set beside the larger of each: what disturbs a measurement
 * makes it smaller, and too small a limit would flatter. Speed is worth nothing if the numbers are
 * wrong: every repetition, and every number of threads, must leave the same bits of logits (OpenBLAS
 * excepted, which does not promise that). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "bench/bench_options.h"
#include "bench/bench_report.h"
#include "bench/shape.h"
#include "cli/common.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/signals.h"

const char program_name[] = "moe-bench";

struct bench {
    struct bench_options options;
    struct progress progress;
    moe_model *model;
    const moe_model_info *info;
    struct bench_report report;
    struct bench_result *results; /* [n_results], to compare hashes */
    size_t n_results, room;
    bool has_mismatch;
};

static void check(moe_status status, const moe_error *err) {
    if (status != MOE_OK) die(STATUS_FAILED, "%s", err->message);
}

/* A random token for each place, whatever the test: SplitMix64's finaliser of seed, sequence and position. */
static uint32_t token_at(const struct bench *b, size_t sequence, size_t position) {
    uint64_t x = b->options.seed * 0x9e3779b97f4a7c15u + (uint64_t)sequence * 0xd1342543de82ef95u + position;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((x ^ (x >> 31)) % b->info->vocab_size);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct bench_limits measure_limits(const struct bench *b, size_t n_threads) {
    struct bench_limits limits;
    moe_error err = {{0}};
    check(moe_machine_limits(&limits.bandwidth, &limits.flops, n_threads, b->options.isa,
                             b->options.precision, &err),
          &err);
    return limits;
}

/* ---- one test ----------------------------------------------------------------------------------------- */

/* Feeds positions [first, first + n) of one sequence. */
static void feed(struct bench *b, moe_session *s, moe_row *rows, size_t sequence, size_t first, size_t n) {
    moe_error err = {{0}};
    for (size_t i = 0; i < n; i++)
        rows[i] = (moe_row){.sequence = (uint32_t)sequence,
                            .position = (uint32_t)(first + i),
                            .token = token_at(b, sequence, first + i),
                            .logits = i + 1 == n};
    check(moe_session_eval(s, rows, n, &err), &err);
}

/* All sequences side by side, one token each at a time. */
static void generate(struct bench *b, moe_session *s, moe_row *rows, const struct bench_test *t) {
    moe_error err = {{0}};
    for (size_t p = t->depth; p < t->depth + t->n_generate; p++) {
        for (size_t i = 0; i < t->n_sequences; i++)
            rows[i] = (moe_row){
                .sequence = (uint32_t)i, .position = (uint32_t)p, .token = token_at(b, i, p), .logits = true};
        check(moe_session_eval(s, rows, t->n_sequences, &err), &err);
    }
}

static void run_once(struct bench *b, moe_session *s, moe_row *rows, const struct bench_test *t) {
    if (t->n_prompt) feed(b, s, rows, 0, t->depth, t->n_prompt);
    if (!t->n_prompt) generate(b, s, rows, t);
}

static uint64_t hash_logits(const struct bench *b, const moe_session *s, size_t n) {
    XXH3_state_t *state = XXH3_createState();
    if (!state || XXH3_64bits_reset(state) != XXH_OK) die(STATUS_FAILED, "out of memory");
    for (size_t i = 0; i < n; i++)
        XXH3_64bits_update(state, moe_session_logits(s, i), b->info->vocab_size * sizeof(float));
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

static bool is_repeatable(const struct bench *b) {
    return b->options.gemm == MOE_GEMM_NATIVE;
}

static void repeat(struct bench *b, struct bench_result *r, moe_session *s, moe_row *rows) {
    char name[96];
    bench_test_name(name, sizeof name, &r->test);
    for (size_t i = 0; i < r->test.n_sequences && r->test.depth > 0; i++)
        feed(b, s, rows, i, 0, r->test.depth);
    if (!b->options.skip_warmup) run_once(b, s, rows, &r->test);
    for (size_t i = 0; i < r->n_samples; i++) {
        moe_session_reset_counters(s);
        uint64_t start = now_ns();
        run_once(b, s, rows, &r->test);
        r->samples_ns[i] = now_ns() - start;
        if (r->samples_ns[i] == 0) r->samples_ns[i] = 1;
        uint64_t hash = hash_logits(b, s, r->test.n_sequences);
        if (i > 0 && hash != r->logits_hash && is_repeatable(b)) {
            note("%s: logits differ between repetitions", name);
            b->has_mismatch = true;
        }
        r->logits_hash = hash;
        progress_show(&b->progress, name, i + 1, r->n_samples);
    }
    r->counters = moe_session_counters(s);
}

static void run_test(struct bench *b, struct bench_result *r) {
    const struct bench_test *t = &r->test;
    moe_session *s;
    moe_error err = {{0}};
    size_t longest = t->n_prompt > t->depth ? t->n_prompt : t->depth;
    moe_session_options options = {.n_sequences = t->n_sequences,
                                   .context = t->depth + t->n_prompt + t->n_generate,
                                   .max_rows = b->options.pass_rows,
                                   .max_logits = t->n_sequences,
                                   .n_threads = t->n_threads};
    check(moe_session_open(&s, b->model, &options, &err), &err);
    moe_row *rows = need(longest > t->n_sequences ? longest : t->n_sequences, sizeof *rows);
    r->n_samples = b->options.n_repeats;
    r->samples_ns = need(r->n_samples, sizeof *r->samples_ns);
    r->n_tokens = t->n_prompt ? t->n_prompt : t->n_generate * t->n_sequences;
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(r->time, sizeof r->time, "%Y-%m-%dT%H:%M:%SZ", &utc);
    repeat(b, r, s, rows);
    progress_clear(&b->progress);
    free(rows);
    moe_session_close(s);
}

/* The same tokens with another number of threads: the same bits. */
static void compare_with_earlier(struct bench *b, const struct bench_result *r) {
    for (size_t i = 0; i < b->n_results && is_repeatable(b); i++) {
        const struct bench_result *e = &b->results[i];
        bool is_same = e->test.n_prompt == r->test.n_prompt && e->test.n_generate == r->test.n_generate &&
                       e->test.depth == r->test.depth && e->test.n_sequences == r->test.n_sequences;
        if (!is_same || e->logits_hash == r->logits_hash) continue;
        note("logits differ between %zu and %zu threads", e->test.n_threads, r->test.n_threads);
        b->has_mismatch = true;
    }
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* ---- all tests ---------------------------------------------------------------------------------------- */

static void measure(struct bench *b, struct bench_test test, struct bench_limits *before) {
    struct bench_result r = {.test = test};
    run_test(b, &r);
    struct bench_limits after = measure_limits(b, test.n_threads);
    r.limits =
        (struct bench_limits){larger(before->bandwidth, after.bandwidth), larger(before->flops, after.flops)};
    *before = after;
    compare_with_earlier(b, &r);
    bench_report_add(&b->report, &r);
    need_room(&b->results, &b->room, b->n_results + 1, sizeof *b->results);
    b->results[b->n_results++] = r;
}

static void measure_all(struct bench *b) {
    const struct bench_options *o = &b->options;
    for (size_t t = 0; t < o->threads.n; t++) {
        size_t n_threads = o->threads.items[t];
        struct bench_limits limits = measure_limits(b, n_threads);
        for (size_t d = 0; d < o->depths.n; d++) {
            struct bench_test test = {.depth = o->depths.items[d], .n_threads = n_threads, .n_sequences = 1};
            for (size_t p = 0; p < o->prompts.n; p++) {
                test.n_prompt = o->prompts.items[p];
                if (test.n_prompt) measure(b, test, &limits);
            }
            test.n_prompt = 0;
            for (size_t n = 0; n < o->generates.n; n++)
                for (size_t s = 0; s < o->batches.n; s++) {
                    test.n_generate = o->generates.items[n];
                    test.n_sequences = o->batches.items[s];
                    if (test.n_generate) measure(b, test, &limits);
                }
        }
    }
}

static void show_loading(void *context, const char *phase, size_t done, size_t total) {
    progress_show(context, phase, done, total);
}

static void open_model(struct bench *b) {
    const struct bench_options *o = &b->options;
    char *path = o->synthetic && o->n_layers ? shape_cut(o->synthetic, o->n_layers)
                 : o->synthetic              ? strdup(o->synthetic)
                                             : model_path(o->model);
    if (!path) die(STATUS_FAILED, "out of memory");
    moe_model_options options = {.isa = o->isa,
                                 .gemm = o->gemm,
                                 .precision = o->precision,
                                 .synthetic = o->synthetic != NULL,
                                 .format = o->storage,
                                 .seed = o->seed,
                                 .weights = o->weights,
                                 .progress = show_loading,
                                 .context = &b->progress};
    moe_error err = {{0}};
    progress_open(&b->progress, o->quiet);
    check(moe_model_open(&b->model, path, &options, &err), &err);
    progress_clear(&b->progress);
    free(path);
    b->info = moe_model_get_info(b->model);
}

int main(int argc, char **argv) {
    signals_install();
    struct bench *b = need(1, sizeof *b);
    struct bench_options *o = &b->options;
    bench_options_read(o, argc, argv);
    open_model(b);
    b->report.options = o;
    b->report.model = b->info;
    b->report.model_name = o->synthetic ? o->synthetic : o->model ? o->model : "storyteller";
    bench_report_open(&b->report);
    measure_all(b);
    bench_report_close(&b->report);
    int status = b->has_mismatch ? STATUS_FAILED : STATUS_DONE;
    for (size_t i = 0; i < b->n_results; i++) free(b->results[i].samples_ns);
    free(b->results);
    moe_model_close(b->model);
    bench_options_free(o);
    free(b);
    return status;
}
