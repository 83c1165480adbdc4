#ifndef MOE_CLI_CHECK_REPORT_H
#define MOE_CLI_CHECK_REPORT_H
/* What moe-run --check has found, and how it is said. */

#include "cli/output.h"
#include "moe.h"

enum tokenizer_state { TOKENIZER_ABSENT, TOKENIZER_UNREADABLE, TOKENIZER_READ };

struct tokenizer_facts {
    enum tokenizer_state state;
    moe_error err;      /* of one that cannot be read */
    int64_t largest_id; /* -1: it has no token */
    size_t n_tokens;    /* ids of the model's vocabulary that have a token */
    bool fits;          /* no id is outside the vocabulary */
};

struct check_facts {
    const char *path;
    const moe_check_report *found;
    const moe_memory_plan *memory; /* NULL: not known, because tensors are at fault */
    size_t context, n_rows, n_threads;
    struct tokenizer_facts tokenizer;
};

/* Whether nothing is wrong and the model runs here. */
bool check_passes(const struct check_facts *f);
/* What is wrong in one line, the first of several, where check_passes is false. */
void check_write_fault(char *out, size_t size, const struct check_facts *f);
void check_print(struct output *out, const struct check_facts *f);
void check_print_json(struct output *out, const struct check_facts *f);

#endif
