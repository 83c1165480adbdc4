#include "bench/bench_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_test_name(char *name, size_t size, const struct bench_test *t) {
    char batch[32] = "", depth[32] = "";
    if (t->n_sequences > 1) snprintf(batch, sizeof batch, " x%zu", t->n_sequences);
    if (t->depth > 0) snprintf(depth, sizeof depth, " @ d%zu", t->depth);
    snprintf(name, size, "%s%zu%s%s", t->n_prompt ? "pp" : "tg", t->n_prompt ? t->n_prompt : t->n_generate,
             batch, depth);
}

/* ---- statistics --------------------------------------------------------------------------------------- */

struct statistics {
    double mean, deviation, median;
};

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* Of n values, which are sorted. The deviation is that of a sample (n - 1), as llama-bench's. */
static struct statistics statistics_of(double *values, size_t n) {
    struct statistics s = {0};
    for (size_t i = 0; i < n; i++) s.mean += values[i] / (double)n;
    for (size_t i = 0; n > 1 && i < n; i++)
        s.deviation += (values[i] - s.mean) * (values[i] - s.mean) / (double)(n - 1);
    s.deviation = sqrt(s.deviation);
    qsort(values, n, sizeof *values, ascending);
    s.median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return s;
}

static double tokens_per_second(const struct bench_result *r, size_t sample) {
    return (double)r->n_tokens * 1e9 / (double)r->samples_ns[sample];
}

/* ---- fields ------------------------------------------------------------------------------------------- */

enum { MAX_FIELDS = 48 };

enum field_kind { FIELD_TEXT, FIELD_INTEGER, FIELD_REAL };

struct field {
    const char *name;
    enum field_kind kind;
    const char *text;
    uint64_t integer;
    double real;
};

struct fields {
    struct field items[MAX_FIELDS];
    size_t n;
    char hash[20], test[96];
};

static void add_text(struct fields *f, const char *name, const char *text) {
    f->items[f->n++] = (struct field){.name = name, .kind = FIELD_TEXT, .text = text};
}

static void add_integer(struct fields *f, const char *name, uint64_t integer) {
    f->items[f->n++] = (struct field){.name = name, .kind = FIELD_INTEGER, .integer = integer};
}

static void add_real(struct fields *f, const char *name, double real) {
    f->items[f->n++] = (struct field){.name = name, .kind = FIELD_REAL, .real = real};
}

static const char *const forms[] = {
    [MOE_WEIGHTS_MAPPED] = "mapped", [MOE_WEIGHTS_HUGE] = "huge pages", [MOE_WEIGHTS_PACKED] = "packed"};

static void add_setting(struct fields *f, const struct bench_report *b, const struct bench_result *r) {
    const moe_model_info *m = b->model;
    add_text(f, "build_commit", MOE_BUILD_COMMIT);
    add_text(f, "build_version", moe_version());
    add_text(f, "cpu_info", b->cpu);
    add_text(f, "model_filename", b->model_name);
    add_text(f, "model_type", m->family);
    add_integer(f, "model_size", m->weight_bytes);
    add_integer(f, "model_n_params", m->n_parameters);
    add_text(f, "model_storage", m->storage);
    add_text(f, "weights", forms[b->options->weights]);
    add_text(f, "isa", m->isa);
    add_text(f, "gemm", m->gemm);
    add_text(f, "precision", m->precision);
    add_integer(f, "n_batch", r->test.n_sequences);
    add_integer(f, "n_ubatch", b->options->pass_rows);
    add_integer(f, "n_threads", r->test.n_threads);
    add_integer(f, "n_prompt", r->test.n_prompt);
    add_integer(f, "n_gen", r->test.n_generate);
    add_integer(f, "n_depth", r->test.depth);
    bench_test_name(f->test, sizeof f->test, &r->test);
    add_text(f, "test", f->test);
    add_text(f, "test_time", r->time);
}

static void add_measurement(struct fields *f, const struct bench_result *r) {
    size_t n = r->n_samples;
    double *values = need(n, sizeof *values), tokens = (double)r->n_tokens;
    for (size_t i = 0; i < n; i++) values[i] = (double)r->samples_ns[i];
    struct statistics ns = statistics_of(values, n);
    for (size_t i = 0; i < n; i++) values[i] = tokens_per_second(r, i);
    struct statistics ts = statistics_of(values, n);
    free(values);
    double bytes = (double)(r->counters.weight_bytes + r->counters.cache_bytes) / tokens;
    double flops = (double)r->counters.flops / tokens;
    add_integer(f, "avg_ns", (uint64_t)ns.mean);
    add_integer(f, "stddev_ns", (uint64_t)ns.deviation);
    add_integer(f, "median_ns", (uint64_t)ns.median);
    add_real(f, "avg_ts", ts.mean);
    add_real(f, "stddev_ts", ts.deviation);
    add_real(f, "median_ts", ts.median);
    add_real(f, "bytes_per_token", bytes);
    add_real(f, "bandwidth_gbs", r->limits.bandwidth * 1e-9);
    add_real(f, "bandwidth_pct", 100 * bytes * ts.median / r->limits.bandwidth);
    add_real(f, "flops_per_token", flops);
    add_real(f, "peak_gflops", r->limits.flops * 1e-9);
    add_real(f, "peak_pct", 100 * flops * ts.median / r->limits.flops);
    snprintf(f->hash, sizeof f->hash, "%016llx", (unsigned long long)r->logits_hash);
    add_text(f, "logits_hash", f->hash);
}

static const struct field *find_field(const struct fields *f, const char *name) {
    size_t i = 0;
    while (strcmp(f->items[i].name, name) != 0) i++; /* the names are those of this file */
    return &f->items[i];
}

static double real_field(const struct fields *f, const char *name) {
    return find_field(f, name)->real;
}

/* ---- the three formats -------------------------------------------------------------------------------- */

static void print_json(struct bench_report *b, const struct fields *f, const struct bench_result *r) {
    struct json j = {.out = &b->out, .depth = 1, .has_item = b->n_rows > 0};
    json_open(&j, NULL, '{');
    for (size_t i = 0; i < f->n; i++) {
        const struct field *x = &f->items[i];
        if (x->kind == FIELD_TEXT) json_string(&j, x->name, x->text);
        if (x->kind == FIELD_INTEGER) json_integer(&j, x->name, x->integer);
        if (x->kind == FIELD_REAL) json_real(&j, x->name, x->real);
    }
    json_open(&j, "samples_ns", '[');
    for (size_t i = 0; i < r->n_samples; i++) json_integer(&j, NULL, r->samples_ns[i]);
    json_close(&j, ']');
    json_open(&j, "samples_ts", '[');
    for (size_t i = 0; i < r->n_samples; i++) json_real(&j, NULL, tokens_per_second(r, i));
    json_close(&j, ']');
    json_close(&j, '}');
}

static void print_csv_text(struct output *out, const char *text) {
    output_write(out, "\"", 1);
    for (; *text; text++) output_write(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    output_write(out, "\"", 1);
}

static void print_csv(struct bench_report *b, const struct fields *f) {
    for (size_t i = 0; b->n_rows == 0 && i < f->n; i++)
        output_format(&b->out, "%s%s", f->items[i].name, i + 1 < f->n ? "," : "\n");
    for (size_t i = 0; i < f->n; i++) {
        const struct field *x = &f->items[i];
        if (x->kind == FIELD_TEXT) print_csv_text(&b->out, x->text);
        if (x->kind == FIELD_INTEGER) output_format(&b->out, "%llu", (unsigned long long)x->integer);
        if (x->kind == FIELD_REAL) output_format(&b->out, "%.9g", x->real);
        output_write(&b->out, i + 1 < f->n ? "," : "\n", 1);
    }
}

static void print_markdown(struct bench_report *b, const struct fields *f, const struct bench_result *r) {
    const moe_model_info *m = b->model;
    if (b->n_rows == 0) {
        output_format(&b->out, "| %-14s | %10s | %8s | %-7s | %-8s | %7s | %18s | %20s | %16s | %18s |\n",
                      "model", "size", "params", "isa", "gemm", "threads", "test", "t/s", "GB/s (limit)",
                      "GFLOP/s (limit)");
        output_format(&b->out, "| -------------- | ---------: | -------: | ------- | -------- | ------: | "
                               "-----------------: | -------------------: | ---------------: | "
                               "-----------------: |\n");
    }
    char speed[64], bandwidth[64], flops[64];
    double rate = real_field(f, "median_ts");
    snprintf(speed, sizeof speed, "%.2f ± %.2f", real_field(f, "avg_ts"), real_field(f, "stddev_ts"));
    snprintf(bandwidth, sizeof bandwidth, "%.1f (%.0f %%)", real_field(f, "bytes_per_token") * rate * 1e-9,
             real_field(f, "bandwidth_pct"));
    snprintf(flops, sizeof flops, "%.1f (%.0f %%)", real_field(f, "flops_per_token") * rate * 1e-9,
             real_field(f, "peak_pct"));
    /* one more column for the sign, which is two bytes */
    output_format(&b->out,
                  "| %-14s | %6.2f %s | %6.2f B | %-7s | %-8.8s | %7zu | %18s | %21s | %16s | %18s |\n",
                  m->family, (double)m->weight_bytes / (m->weight_bytes >> 30 ? 1 << 30 : 1 << 20),
                  m->weight_bytes >> 30 ? "GiB" : "MiB", (double)m->n_parameters * 1e-9, m->isa, m->gemm,
                  r->test.n_threads, find_field(f, "test")->text, speed, bandwidth, flops);
}

/* ---- the report --------------------------------------------------------------------------------------- */

static void read_cpu_name(char *name, size_t size) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    snprintf(name, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        snprintf(name, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
        break;
    }
    if (f) fclose(f);
}

void bench_report_open(struct bench_report *b) {
    output_open(&b->out);
    b->format = b->options->format;
    read_cpu_name(b->cpu, sizeof b->cpu);
    if (b->format == BENCH_JSON) output_write(&b->out, "[", 1);
    output_flush(&b->out);
}

void bench_report_add(struct bench_report *b, const struct bench_result *r) {
    struct fields f = {.n = 0};
    add_setting(&f, b, r);
    add_measurement(&f, r);
    if (b->format == BENCH_JSON) print_json(b, &f, r);
    if (b->format == BENCH_CSV) print_csv(b, &f);
    if (b->format == BENCH_MARKDOWN) print_markdown(b, &f, r);
    b->n_rows++;
    output_flush(&b->out);
}

void bench_report_close(struct bench_report *b) {
    if (b->format == BENCH_JSON) output_write(&b->out, "\n]\n", 3);
    output_close(&b->out);
}
