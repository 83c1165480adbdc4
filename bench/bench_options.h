#ifndef MOE_BENCH_OPTIONS_H
#define MOE_BENCH_OPTIONS_H
/* The command line of moe-bench, checked. */

#include "cli/common.h"

enum bench_format { BENCH_MARKDOWN, BENCH_CSV, BENCH_JSON };

struct bench_list {
    uint64_t *items; /* [n] */
    size_t n;
};

struct bench_options {
    const char *model;     /* NULL: the shipped one */
    const char *synthetic; /* a config.json, or NULL */
    const char *storage;   /* format of its weights, or NULL */
    size_t n_layers;       /* of the synthetic model; 0: all */
    struct bench_list prompts, generates, depths, batches, threads;
    size_t n_repeats, pass_rows;
    const char *isa;
    moe_gemm gemm;
    moe_precision precision;
    moe_weights_form weights;
    uint64_t seed;
    enum bench_format format;
    bool skip_warmup, quiet;
};

/* Wrong usage, --help and --version end the program. */
void bench_options_read(struct bench_options *o, int argc, char **argv);
void bench_options_free(struct bench_options *o);

#endif
