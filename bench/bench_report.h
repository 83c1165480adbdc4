#ifndef MOE_BENCH_REPORT_H
#define MOE_BENCH_REPORT_H
/* What moe-bench prints: a line per test, as soon as it is over. */

#include "bench/bench_options.h"
#include "cli/output.h"

struct bench_test {
    size_t n_prompt, n_generate; /* one of them is 0 */
    size_t depth, n_sequences, n_threads;
};

struct bench_limits {
    double bandwidth, flops; /* bytes/s, FLOP/s */
};

struct bench_result {
    struct bench_test test;
    uint64_t *samples_ns; /* [n_samples], owned */
    size_t n_samples;
    size_t n_tokens; /* of one repetition, all sequences */
    moe_counters counters;
    struct bench_limits limits; /* the larger of before and after */
    uint64_t logits_hash;       /* XXH3 of the last logits of every sequence */
    char time[32];              /* when it began, ISO 8601 */
};

struct bench_report {
    struct output out;
    enum bench_format format;
    const struct bench_options *options;
    const moe_model_info *model;
    const char *model_name;
    char cpu[128];
    size_t n_rows;
};

/* *b is zeroed but for options, model and model_name. */
void bench_report_open(struct bench_report *b);
void bench_report_add(struct bench_report *b, const struct bench_result *r);
void bench_report_close(struct bench_report *b);

/* "pp512", "tg128 x4 @ d1024" */
void bench_test_name(char *name, size_t size, const struct bench_test *t);

#endif
