#include "cli/check_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the verdict -------------------------------------------------------------------------------------- */

static bool is_faulty(const struct check_facts *f) {
    const struct tokenizer_facts *t = &f->tokenizer;
    return f->found->n_faults || f->found->n_tainted || f->found->n_ids_outside ||
           t->state == TOKENIZER_UNREADABLE || (t->state == TOKENIZER_READ && !t->fits);
}

static bool runs(const struct check_facts *f) {
    return f->memory && f->memory->runs != MOE_RUNS_NOT;
}

bool check_passes(const struct check_facts *f) {
    return runs(f) && !is_faulty(f);
}

static double gibibytes(uint64_t bytes) {
    return (double)bytes / (1 << 30);
}

static double mebibytes(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

/* In the unit that suits it. */
static const char *amount(char out[32], uint64_t bytes) {
    bool is_large = bytes >= (uint64_t)1 << 30;
    snprintf(out, 32, is_large ? "%.1f GiB" : "%.1f MiB", is_large ? gibibytes(bytes) : mebibytes(bytes));
    return out;
}

static void add_reason(char *out, size_t size, const char *reason) {
    size_t n = strlen(out);
    snprintf(out + n, size - n, "%s%s", n ? ", " : "", reason);
}

/* What is wrong with the files, in the order of the report. */
static void name_reasons(char *out, size_t size, const struct check_facts *f) {
    const struct tokenizer_facts *t = &f->tokenizer;
    *out = '\0';
    if (f->found->n_faults) add_reason(out, size, "tensors missing or wrong");
    if (f->found->n_tainted) add_reason(out, size, "values that are not finite");
    if (t->state == TOKENIZER_UNREADABLE) add_reason(out, size, "a tokenizer that cannot be read");
    if (t->state == TOKENIZER_READ && !t->fits) add_reason(out, size, "a tokenizer of another vocabulary");
    if (f->found->n_ids_outside) add_reason(out, size, "special ids outside the vocabulary");
}

/* One line that stands for itself. */
static void write_verdict(char *out, size_t size, const struct check_facts *f) {
    const moe_memory_plan *m = f->memory;
    char reasons[256], a[32], b[32];
    name_reasons(reasons, sizeof reasons, f);
    if (!m)
        snprintf(out, size, "does not run: it has %s", reasons);
    else if (!runs(f))
        snprintf(out, size, "does not run here: needs %s of memory, %s are available%s%s",
                 amount(a, m->needed), amount(b, m->available), *reasons ? "; and it has " : "", reasons);
    else if (*reasons)
        snprintf(out, size, "runs here%s, but has %s", m->runs == MOE_RUNS_FROM_DISK ? ", from disk" : "",
                 reasons);
    else if (m->runs == MOE_RUNS_FROM_DISK)
        snprintf(out, size, "runs here, from disk: %s of weights, %s of memory are left for them",
                 amount(a, m->mapped), amount(b, m->available - m->needed));
    else
        snprintf(out, size, "runs here");
}

void check_write_fault(char *out, size_t size, const struct check_facts *f) {
    const moe_check_report *r = f->found;
    const moe_check_tensor *t = r->tensors;
    char verdict[512];
    write_verdict(verdict, sizeof verdict, f);
    if (r->n_faults_listed)
        snprintf(out, size, "%s", r->faults[0]);
    else if (r->n_tensors_listed)
        snprintf(out, size, "%s: tensor %s: %" PRIu64 " NaN, %" PRIu64 " infinite of %" PRIu64 " values",
                 f->path, t->name, t->n_nan, t->n_infinite, t->n_values);
    else if (f->tokenizer.state == TOKENIZER_UNREADABLE)
        snprintf(out, size, "%s", f->tokenizer.err.message);
    else
        snprintf(out, size, "%s: %s", f->path, verdict);
}

/* ---- text --------------------------------------------------------------------------------------------- */

static void print_more(struct output *out, size_t n, size_t n_listed) {
    if (n > n_listed) output_format(out, "            and %zu more\n", n - n_listed);
}

static void print_model(struct output *out, const struct check_facts *f) {
    const moe_model_info *i = f->found->model;
    output_text(out, "model       ", 12);
    output_text(out, f->path, strlen(f->path));
    output_format(out, "\nfamily      %s: %zu layers, %zu of %zu experts, vocabulary of %zu\n", i->family,
                  i->n_layers, i->top_k, i->n_experts, i->vocab_size);
    if (i->max_positions) output_format(out, "made for    %zu positions\n", i->max_positions);
    if (i->storage)
        output_format(out, "parameters  %.4g M in %s\n", (double)i->n_parameters * 1e-6, i->storage);
}

static void print_tensors(struct output *out, const moe_check_report *r) {
    if (r->n_faults)
        output_format(out, "tensors     %zu of %zu missing or wrong%s\n", r->n_faults, r->n_tensors,
                      r->has_more_faults ? ", and more" : "");
    if (!r->n_faults) output_format(out, "tensors     %zu, all there\n", r->n_tensors);
    for (size_t i = 0; i < r->n_faults_listed; i++) output_format(out, "            %s\n", r->faults[i]);
    print_more(out, r->n_faults, r->n_faults_listed);
    if (!r->n_tainted) output_format(out, "values      %" PRIu64 ", all finite\n", r->n_values);
    if (!r->n_tainted) return;
    output_format(out, "values      %" PRIu64 " NaN, %" PRIu64 " infinite of %" PRIu64 ", in %zu tensor%s\n",
                  r->n_nan, r->n_infinite, r->n_values, r->n_tainted, r->n_tainted == 1 ? "" : "s");
    for (size_t i = 0; i < r->n_tensors_listed; i++) {
        const moe_check_tensor *t = &r->tensors[i];
        output_format(out, "            %s: %" PRIu64 " NaN, %" PRIu64 " infinite of %" PRIu64 ", %s\n",
                      t->name, t->n_nan, t->n_infinite, t->n_values, t->format);
    }
    print_more(out, r->n_tainted, r->n_tensors_listed);
}

static void print_tokenizer(struct output *out, const struct check_facts *f) {
    const struct tokenizer_facts *t = &f->tokenizer;
    size_t vocab = f->found->model->vocab_size;
    switch (t->state) {
    case TOKENIZER_ABSENT:
        output_format(out, "tokenizer   none: tokenizer.json is not there, only --ids work\n");
        return;
    case TOKENIZER_UNREADABLE:
        output_format(out, "tokenizer   %s\n", t->err.message);
        return;
    case TOKENIZER_READ:
        output_format(out, "tokenizer   largest id %" PRId64 "%s\n", t->largest_id,
                      t->fits ? "" : ", outside the vocabulary");
        if (t->n_tokens < vocab)
            output_format(out, "unnamed     %zu ids of the vocabulary have no token\n", vocab - t->n_tokens);
    }
}

static void print_ids(struct output *out, const moe_check_report *r) {
    for (size_t i = 0; i < r->n_ids; i++) {
        const moe_check_id *id = &r->ids[i];
        output_format(out, "special     %s %" PRId64 " (%s)%s\n", id->key, id->id, id->file,
                      id->is_inside ? "" : ", outside the vocabulary");
    }
}

static void print_amount(struct output *out, const char *name, uint64_t bytes, const char *what) {
    char a[32];
    if (bytes != UINT64_MAX)
        output_format(out, "%-12s%10s%s%s\n", name, amount(a, bytes), *what ? "  " : "", what);
}

static void print_memory(struct output *out, const struct check_facts *f) {
    const moe_memory_plan *m = f->memory;
    char rows[96];
    if (!m) return;
    snprintf(rows, sizeof rows, "for %zu positions (-c)", f->context);
    print_amount(out, "weights", m->mapped, "mapped: the system may drop them");
    print_amount(out, "copies", m->copied, "of weights");
    print_amount(out, "cache", m->cache, rows);
    snprintf(rows, sizeof rows, "for %zu rows at once, %zu thread%s", f->n_rows, f->n_threads,
             f->n_threads == 1 ? "" : "s");
    print_amount(out, "scratch", m->scratch, rows);
    print_amount(out, "needed", m->needed, "copies, cache and scratch");
    print_amount(out, "available", m->available, "");
    print_amount(out, "machine", m->total, "");
    print_amount(out, "limit", m->limit, "of the control group");
}

void check_print(struct output *out, const struct check_facts *f) {
    char verdict[512];
    print_model(out, f);
    print_tensors(out, f->found);
    print_tokenizer(out, f);
    print_ids(out, f->found);
    print_memory(out, f);
    write_verdict(verdict, sizeof verdict, f);
    output_format(out, "result      %s\n", verdict);
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static void put_tensors(struct json *j, const moe_check_report *r) {
    json_open(j, "tensors", '{');
    json_integer(j, "count", r->n_tensors);
    json_integer(j, "faults", r->n_faults);
    json_bool(j, "has_more_faults", r->has_more_faults);
    json_open(j, "messages", '[');
    for (size_t i = 0; i < r->n_faults_listed; i++) json_string(j, NULL, r->faults[i]);
    json_close(j, ']');
    json_close(j, '}');
    json_open(j, "values", '{');
    json_integer(j, "count", r->n_values);
    json_integer(j, "nan", r->n_nan);
    json_integer(j, "infinite", r->n_infinite);
    json_integer(j, "tainted_tensors", r->n_tainted);
    json_open(j, "tensors", '[');
    for (size_t i = 0; i < r->n_tensors_listed; i++) {
        const moe_check_tensor *t = &r->tensors[i];
        json_open(j, NULL, '{');
        json_string(j, "name", t->name);
        json_string(j, "storage", t->format);
        json_integer(j, "count", t->n_values);
        json_integer(j, "nan", t->n_nan);
        json_integer(j, "infinite", t->n_infinite);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void put_tokenizer(struct json *j, const struct check_facts *f) {
    const struct tokenizer_facts *t = &f->tokenizer;
    if (t->state == TOKENIZER_ABSENT) {
        json_null(j, "tokenizer");
        return;
    }
    json_open(j, "tokenizer", '{');
    if (t->state == TOKENIZER_UNREADABLE) {
        json_string(j, "error", t->err.message);
    } else {
        json_null(j, "error");
        json_signed(j, "largest_id", t->largest_id);
        json_integer(j, "unnamed_ids", f->found->model->vocab_size - t->n_tokens);
        json_bool(j, "fits", t->fits);
    }
    json_close(j, '}');
}

static void put_ids(struct json *j, const moe_check_report *r) {
    json_open(j, "special_ids", '[');
    for (size_t i = 0; i < r->n_ids; i++) {
        json_open(j, NULL, '{');
        json_string(j, "key", r->ids[i].key);
        json_string(j, "file", r->ids[i].file);
        json_signed(j, "id", r->ids[i].id);
        json_bool(j, "fits", r->ids[i].is_inside);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void put_bytes(struct json *j, const char *key, uint64_t bytes) {
    if (bytes == UINT64_MAX)
        json_null(j, key);
    else
        json_integer(j, key, bytes);
}

static void put_memory(struct json *j, const struct check_facts *f) {
    static const char *const names[] = {
        [MOE_RUNS_IN_MEMORY] = "in memory", [MOE_RUNS_FROM_DISK] = "from disk", [MOE_RUNS_NOT] = "no"};
    const moe_memory_plan *m = f->memory;
    if (!m) {
        json_null(j, "memory");
        return;
    }
    json_open(j, "memory", '{');
    json_integer(j, "context", f->context);
    json_integer(j, "rows", f->n_rows);
    json_integer(j, "threads", f->n_threads);
    put_bytes(j, "weight_bytes", m->mapped);
    put_bytes(j, "copied_bytes", m->copied);
    put_bytes(j, "cache_bytes", m->cache);
    put_bytes(j, "scratch_bytes", m->scratch);
    put_bytes(j, "needed_bytes", m->needed);
    put_bytes(j, "available_bytes", m->available);
    put_bytes(j, "machine_bytes", m->total);
    put_bytes(j, "limit_bytes", m->limit);
    json_string(j, "runs", names[m->runs]);
    json_close(j, '}');
}

void check_print_json(struct output *out, const struct check_facts *f) {
    const moe_model_info *i = f->found->model;
    struct json j = {.out = out};
    char verdict[512];
    write_verdict(verdict, sizeof verdict, f);
    json_open(&j, NULL, '{');
    json_open(&j, "model", '{');
    json_string(&j, "path", f->path);
    json_string(&j, "family", i->family);
    if (i->storage) json_string(&j, "storage", i->storage);
    if (!i->storage) json_null(&j, "storage");
    json_integer(&j, "parameters", i->n_parameters);
    json_integer(&j, "layers", i->n_layers);
    json_integer(&j, "experts", i->n_experts);
    json_integer(&j, "experts_per_token", i->top_k);
    json_integer(&j, "vocabulary", i->vocab_size);
    json_integer(&j, "max_positions", i->max_positions);
    json_close(&j, '}');
    put_tensors(&j, f->found);
    put_tokenizer(&j, f);
    put_ids(&j, f->found);
    put_memory(&j, f);
    json_bool(&j, "passes", check_passes(f));
    json_string(&j, "result", verdict);
    json_string(&j, "version", moe_version());
    json_close(&j, '}');
}
