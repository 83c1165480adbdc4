#ifndef MOE_CLI_RUN_OPTIONS_H
#define MOE_CLI_RUN_OPTIONS_H
/* The command line of moe-run, checked. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe.h"

enum { MAX_STOPS = 16, MAX_STOP_BYTES = 4096, PROMPT_LIMIT = 64 << 20 };

enum run_mode { RUN_GENERATE, RUN_TOKENIZE, RUN_DETOKENIZE, RUN_CHECK };

enum bos { BOS_OF_TOKENIZER, BOS_ADD, BOS_NONE };

struct run_options {
    enum run_mode mode;
    const char *model; /* NULL: the shipped one */
    /* one of these three, at most */
    const char *prompt, *prompt_file;
    uint64_t *ids; /* [n_ids] */
    size_t n_ids;

    size_t n_generate; /* SIZE_MAX: not given */
    size_t context;    /* 0: not given */
    size_t n_threads, batch_size;
    const char *isa;
    moe_gemm gemm;
    moe_precision precision;
    moe_weights_form weights;
    moe_sampling sampling;
    const char *stops[MAX_STOPS]; /* not empty, UTF-8 */
    size_t n_stops;
    const char *logits_file;
    enum bos bos;
    bool ignore_eos, print_ids, json, quiet, escaped, skip_special;
};

/* Reads the command line; wrong usage, --help and --version end the program. */
void run_options_read(struct run_options *o, int argc, char **argv);

#endif
