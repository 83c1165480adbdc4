#include "cli/check_mode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/check_report.h"
#include "cli/common.h"
#include "cli/output.h"
#include "cli/signals.h"

/* Without -c: a prompt that fills a batch, and what -n is without being given. JSON is for programs, which
 * may want to mend what is named. */
enum { USUAL_GENERATE = 256, LISTED = 20, LISTED_JSON = 4096 };

struct checking {
    const struct run_options *options;
    moe_check *check;
    moe_memory_plan memory;
    struct check_facts facts;
    struct progress progress;
    struct output out;
};

static void show(void *context, const char *phase, size_t done, size_t total) {
    progress_show(&((struct checking *)context)->progress, phase, done, total);
}

static bool is_cancelled(void *context) {
    (void)context;
    return interrupted() != 0;
}

/* Half a report says nothing. */
static void finish(void *context) {
    (void)context;
}

static bool is_absent(const char *directory, const char *name) {
    char file[4096];
    struct stat st;
    int n = snprintf(file, sizeof file, "%s/%s", directory, name);
    return n > 0 && n < (int)sizeof file && lstat(file, &st) != 0 && errno == ENOENT;
}

static void read_tokenizer(struct tokenizer_facts *t, const char *directory, size_t vocab_size) {
    moe_tokenizer *tokenizer;
    *t = (struct tokenizer_facts){.state = TOKENIZER_ABSENT};
    if (is_absent(directory, "tokenizer.json")) return;
    t->state = TOKENIZER_UNREADABLE;
    moe_status status = moe_tokenizer_open(&tokenizer, directory, &t->err);
    bool is_finding = status == MOE_E_FORMAT || status == MOE_E_UNSUPPORTED;
    if (status != MOE_OK && !is_finding) die(STATUS_FAILED, "%s", t->err.message);
    if (is_finding) return;
    t->state = TOKENIZER_READ;
    t->largest_id = moe_tokenizer_largest_id(tokenizer);
    t->n_tokens = moe_tokenizer_count(tokenizer, vocab_size);
    t->fits = t->largest_id < 0 || (uint64_t)t->largest_id < vocab_size;
    moe_tokenizer_close(tokenizer);
}

static moe_status measure(struct checking *c, moe_error *err) {
    const struct run_options *o = c->options;
    struct check_facts *f = &c->facts;
    f->context = o->context ? o->context : o->batch_size + USUAL_GENERATE;
    f->n_rows = o->batch_size < f->context ? o->batch_size : f->context;
    f->n_threads = o->n_threads ? o->n_threads : moe_physical_cores();
    if (f->found->n_faults) return MOE_OK;
    const moe_session_options options = {.n_sequences = 1,
                                         .context = f->context,
                                         .max_rows = f->n_rows,
                                         .max_logits = 1,
                                         .n_threads = o->n_threads};
    f->memory = &c->memory;
    return moe_check_memory(&c->memory, c->check, &options, err);
}

/* What does not take long first; and memory before all values are read, which fills the system's cache. */
static moe_status look(struct checking *c, const char *directory, moe_error *err) {
    const struct run_options *o = c->options;
    struct check_facts *f = &c->facts;
    const moe_check_options options = {.model = {.isa = o->isa,
                                                 .gemm = o->gemm,
                                                 .precision = o->precision,
                                                 .weights = o->weights,
                                                 .n_threads = o->n_threads,
                                                 .progress = show,
                                                 .context = c},
                                       .max_listed = o->json ? LISTED_JSON : LISTED,
                                       .is_cancelled = is_cancelled};
    moe_status status = moe_check_open(&c->check, f->path, &options, err);
    if (status != MOE_OK) return status;
    f->found = moe_check_get_report(c->check);
    status = measure(c, err);
    if (status != MOE_OK) return status;
    read_tokenizer(&f->tokenizer, directory, f->found->model->vocab_size);
    return moe_check_values(c->check, err);
}

static void print(struct checking *c) {
    if (c->options->json)
        check_print_json(&c->out, &c->facts);
    else
        check_print(&c->out, &c->facts);
    output_close(&c->out);
}

/* As after any failure, for who looks at standard error alone. */
static void say_fault(const struct check_facts *f) {
    char fault[1024];
    check_write_fault(fault, sizeof fault, f);
    note("%s", fault);
}

int run_check(const struct run_options *o, const char *path, const char *directory) {
    struct checking *c = need(1, sizeof *c);
    c->options = o;
    c->facts.path = path;
    output_open(&c->out);
    progress_open(&c->progress, o->quiet);
    moe_error err = {{0}};
    signals_begin(finish, NULL);
    signals_unlock();
    moe_status status = look(c, directory, &err);
    signals_lock();
    progress_clear(&c->progress);
    if (status != MOE_OK && !interrupted()) die(STATUS_FAILED, "%s", err.message);
    bool passes = !interrupted() && check_passes(&c->facts);
    if (!interrupted()) print(c);
    if (!interrupted() && !passes) say_fault(&c->facts);
    moe_check_close(c->check);
    free(c);
    return interrupted() ? 128 + interrupted() : passes ? STATUS_DONE : STATUS_FAILED;
}
