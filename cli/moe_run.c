/* moe-run: from a prompt to text. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/check_mode.h"
#include "cli/common.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/run_options.h"
#include "cli/signals.h"
#include "cli/stops.h"
#include "cli/text_modes.h"
#include "moe.h"

const char program_name[] = "moe-run";

enum { DEFAULT_GENERATE = 256, LOGITS_ROWS = 64 };

struct run {
    const struct run_options *options;
    const char *path, *directory; /* of the model; the directory that it is, or lies in */
    struct output out;
    struct progress progress;

    moe_model *model;
    const moe_model_info *info;
    moe_tokenizer *tokenizer; /* NULL: ids in, ids out */
    moe_decoder *decoder;
    moe_session *session;
    moe_sampler *sampler;
    moe_tensor_writer *logits;

    uint32_t *ids; /* [n_ids]: the prompt, then what was generated */
    size_t n_prompt, n_ids, room;
    size_t n_generate, context, n_threads, session_bytes;
    moe_row *rows; /* [n_rows] of one evaluation */
    size_t n_rows;
    const float *last_logits; /* of the last position fed */

    struct stops stops;
    struct text text; /* generated, up to a stop text */
    size_t n_shown;   /* bytes of it that were printed */
    const char *finish_reason;
    double load_s, prompt_s, generate_s, started; /* `started`: the part that is under way */
    bool is_generating, is_finished;
};

static void check(moe_status status, const moe_error *err) {
    if (status != MOE_OK) die(STATUS_FAILED, "%s", err->message);
}

/* ---- the prompt --------------------------------------------------------------------------------------- */

static bool needs_tokenizer(const struct run *r) {
    const struct run_options *o = r->options;
    if (!o->ids || o->n_stops > 0) return true;
    if (o->print_ids) return false;
    if (!o->json) return true;
    char file[4096]; /* ids in and JSON out: text if there can be any */
    int n = snprintf(file, sizeof file, "%s/tokenizer.json", r->directory);
    struct stat st;
    return n > 0 && n < (int)sizeof file && stat(file, &st) == 0;
}

static void encode_prompt(struct run *r, const struct text *prompt) {
    const struct run_options *o = r->options;
    uint32_t *ids = NULL;
    size_t n = 0;
    moe_error err = {{0}};
    if (moe_tokenizer_encode(&ids, &n, r->tokenizer, prompt->data, prompt->n, o->bos != BOS_NONE, &err) !=
        MOE_OK)
        die(STATUS_FAILED, "prompt: %s", err.message);
    need_room(&r->ids, &r->room, n + 1, sizeof *r->ids);
    if (o->bos == BOS_ADD) {
        if (r->info->bos < 0)
            die(STATUS_FAILED, "--add-bos: %s: config.json names no bos_token_id", r->directory);
        if (n == 0 || ids[0] != (uint64_t)r->info->bos) r->ids[r->n_ids++] = (uint32_t)r->info->bos;
    }
    if (n > 0) memcpy(r->ids + r->n_ids, ids, n * sizeof *ids);
    r->n_ids += n;
    moe_free(ids);
}

static void set_prompt(struct run *r, const struct text *prompt) {
    const struct run_options *o = r->options;
    if (o->ids) {
        need_room(&r->ids, &r->room, o->n_ids, sizeof *r->ids);
        for (size_t i = 0; i < o->n_ids; i++) r->ids[i] = (uint32_t)o->ids[i];
        r->n_ids = o->n_ids;
    } else {
        encode_prompt(r, prompt);
    }
    r->n_prompt = r->n_ids;
    if (r->n_prompt == 0) die(STATUS_USAGE, "the prompt is empty: it has no token");
    for (size_t i = 0; i < r->n_prompt; i++)
        if (r->ids[i] >= r->info->vocab_size)
            die(o->ids ? STATUS_USAGE : STATUS_FAILED, "%s: id %u, but the model's vocabulary has %zu tokens",
                o->ids ? "--ids" : "tokenizer.json", r->ids[i], r->info->vocab_size);
}

/* How many tokens to generate, and the positions that takes. */
static void set_size(struct run *r) {
    const struct run_options *o = r->options;
    size_t room = o->context > r->n_prompt ? o->context - r->n_prompt : 0;
    r->n_generate = o->n_generate != SIZE_MAX ? o->n_generate : DEFAULT_GENERATE;
    if (o->context && o->n_generate == SIZE_MAX && r->n_generate > room && room > 0) r->n_generate = room;
    r->context = o->context ? o->context : r->n_prompt + r->n_generate;
    if (r->n_prompt > r->context || r->n_generate > r->context - r->n_prompt)
        die(STATUS_USAGE, "%zu prompt tokens and -n %zu do not fit a context of %zu (-c)", r->n_prompt,
            r->n_generate, r->context);
    if (r->n_prompt + r->n_generate > UINT32_MAX) die(STATUS_USAGE, "more than %u positions", UINT32_MAX);
    if (r->info->max_positions && r->n_prompt + r->n_generate > r->info->max_positions && !o->quiet)
        note("the model was made for %zu positions, %zu are asked for", r->info->max_positions,
             r->n_prompt + r->n_generate);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static void show_loading(void *context, const char *phase, size_t done, size_t total) {
    progress_show(context, phase, done, total);
}

static void open_model(struct run *r) {
    const struct run_options *o = r->options;
    moe_error err = {{0}};
    moe_model_options options = {.isa = o->isa,
                                 .gemm = o->gemm,
                                 .precision = o->precision,
                                 .weights = o->weights,
                                 .n_threads = o->n_threads,
                                 .progress = show_loading,
                                 .context = &r->progress};
    check(moe_model_open(&r->model, r->path, &options, &err), &err);
    progress_clear(&r->progress);
    r->info = moe_model_get_info(r->model);
    if (needs_tokenizer(r)) {
        check(moe_tokenizer_open(&r->tokenizer, r->directory, &err), &err);
        check(moe_decoder_open(&r->decoder, r->tokenizer, true, &err), &err);
    }
}

static void open_session(struct run *r) {
    const struct run_options *o = r->options;
    moe_error err = {{0}};
    r->n_rows = o->logits_file && o->batch_size > LOGITS_ROWS ? LOGITS_ROWS : o->batch_size;
    if (r->n_rows > r->n_prompt) r->n_rows = r->n_prompt;
    r->rows = need(r->n_rows, sizeof *r->rows);
    moe_session_options options = {.n_sequences = 1,
                                   .context = r->context,
                                   .max_rows = r->n_rows,
                                   .max_logits = o->logits_file ? r->n_rows : 1,
                                   .n_threads = o->n_threads};
    check(moe_session_measure(&r->session_bytes, r->model, &options, &err), &err);
    check(moe_session_open(&r->session, r->model, &options, &err), &err);
    r->n_threads = moe_session_threads(r->session);
    check(moe_sampler_open(&r->sampler, r->info->vocab_size, &o->sampling, &err), &err);
    if (o->logits_file)
        check(moe_tensor_writer_open(&r->logits, o->logits_file, "logits", r->info->vocab_size, &err), &err);
    need_room(&r->ids, &r->room, r->n_prompt + r->n_generate, sizeof *r->ids);
}

static void show_model(const struct run *r) {
    const moe_model_info *i = r->info;
    if (r->options->quiet) return;
    note(
        "%s: %.4g M parameters in %s, %zu layers, %zu of %zu experts; %s, %s%s, %s%zu thread%s; %.1f MiB for "
        "%zu positions",
        i->family, (double)i->n_parameters * 1e-6, i->storage, i->n_layers, i->top_k, i->n_experts, i->isa,
        i->gemm, precision_note(i), r->options->n_threads || r->n_threads == 1 ? "" : "up to ", r->n_threads,
        r->n_threads == 1 ? "" : "s", (double)r->session_bytes / (1 << 20), r->context);
}

/* ---- output ------------------------------------------------------------------------------------------- */

static bool shows_text(const struct run *r) {
    return !r->options->json && !r->options->print_ids;
}

static void show_new_text(struct run *r) {
    if (r->n_shown == r->text.n) return;
    if (shows_text(r)) output_text(&r->out, r->text.data + r->n_shown, r->text.n - r->n_shown);
    r->n_shown = r->text.n;
}

/* On a terminal the story should not begin in mid-sentence: the prompt goes before it, dimmed, to standard
 * error. */
static void show_prompt(const struct run *r, const struct text *prompt) {
    if (!shows_text(r) || !r->out.is_terminal || !isatty(STDERR_FILENO) || r->options->quiet || !prompt->data)
        return;
    const char *dim = has_colour() ? "\033[2m" : "", *plain = has_colour() ? "\033[0m" : "";
    fputs(dim, stderr);
    for (size_t i = 0; i < prompt->n;) {
        uint32_t code;
        size_t length = utf8_next(&code, prompt->data + i, prompt->n - i);
        if (is_control(code) && code != '\n' && code != '\t') {
            fputc('?', stderr);
        } else {
            fwrite(prompt->data + i, 1, length, stderr);
        }
        i += length;
    }
    fputs(plain, stderr);
}

static double rate(size_t n, double seconds) {
    return n > 0 && seconds > 0 ? (double)n / seconds : 0;
}

/* The first token comes with the prompt, so that n tokens take n - 1 evaluations. */
static double generation_rate(const struct run *r) {
    size_t n = r->n_ids - r->n_prompt;
    return rate(n > 0 ? n - 1 : 0, r->generate_s);
}

static void write_json(struct run *r) {
    const moe_model_info *i = r->info;
    struct json j = {.out = &r->out};
    json_open(&j, NULL, '{');
    if (r->tokenizer) json_bytes(&j, "text", r->text.data, r->text.n);
    if (!r->tokenizer) json_null(&j, "text");
    json_ids(&j, "ids", r->ids + r->n_prompt, r->n_ids - r->n_prompt);
    json_string(&j, "finish_reason", r->finish_reason);
    json_integer(&j, "prompt_tokens", r->n_prompt);
    json_integer(&j, "generated_tokens", r->n_ids - r->n_prompt);
    json_open(&j, "timings", '{');
    json_real(&j, "load_s", r->load_s);
    json_real(&j, "prompt_s", r->prompt_s);
    json_real(&j, "generate_s", r->generate_s);
    json_real(&j, "prompt_tokens_per_s", rate(r->n_prompt, r->prompt_s));
    json_real(&j, "generated_tokens_per_s", generation_rate(r));
    json_close(&j, '}');
    json_integer(&j, "peak_memory_bytes", peak_memory());
    json_integer(&j, "session_bytes", r->session_bytes);
    json_integer(&j, "context", r->context);
    json_integer(&j, "threads", r->n_threads);
    json_integer(&j, "seed", r->options->sampling.seed);
    json_open(&j, "model", '{');
    json_string(&j, "path", r->path);
    json_string(&j, "family", i->family);
    json_string(&j, "storage", i->storage);
    json_integer(&j, "parameters", i->n_parameters);
    json_integer(&j, "weight_bytes", i->weight_bytes);
    json_integer(&j, "layers", i->n_layers);
    json_integer(&j, "experts", i->n_experts);
    json_integer(&j, "experts_per_token", i->top_k);
    json_integer(&j, "vocabulary", i->vocab_size);
    json_string(&j, "isa", i->isa);
    json_string(&j, "gemm", i->gemm);
    json_string(&j, "precision", i->precision);
    json_close(&j, '}');
    json_string(&j, "version", moe_version());
    json_close(&j, '}');
}

static void stop_clock(struct run *r) {
    double now = seconds_now();
    if (r->is_generating) r->generate_s = now - r->started;
    if (!r->is_generating) r->prompt_s = now - r->started;
    r->started = now;
}

static bool is_same_file(int a, int b) {
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Prints what there is, at the end and after an interrupt. */
static void finish(void *context) {
    struct run *r = context;
    if (r->is_finished) return;
    r->is_finished = true;
    progress_clear(&r->progress);
    stop_clock(r);
    if (!r->finish_reason) r->finish_reason = "interrupted";
    moe_error err = {{0}};
    if (r->decoder && strcmp(r->finish_reason, "stop") != 0) {
        const char *piece = NULL;
        size_t n = 0;
        check(moe_decoder_finish(&piece, &n, r->decoder, &err), &err);
        /* the last bytes may complete a stop text, too late to end anything: it is still not shown */
        if (!stops_feed(&r->stops, &r->text, piece, n)) stops_finish(&r->stops, &r->text);
    }
    show_new_text(r);
    if (r->options->print_ids) output_write(&r->out, "\n", 1);
    if (r->options->json) write_json(r);
    bool is_open_line = shows_text(r) && (r->text.n == 0 || r->text.data[r->text.n - 1] != '\n');
    if (is_open_line && r->out.is_terminal) output_write(&r->out, "\n", 1);
    output_flush(&r->out);
    moe_tensor_writer *logits = r->logits;
    r->logits = NULL;
    check(moe_tensor_writer_close(logits, &err), &err);
    if (r->options->quiet) return;
    /* the statistics are a line of their own where both go to one file */
    if (is_open_line && !r->out.is_terminal && is_same_file(STDOUT_FILENO, STDERR_FILENO))
        fputc('\n', stderr);
    note("%zu prompt tokens, %.1f tokens/s; %zu generated tokens, %.1f tokens/s; peak memory %.1f MiB",
         r->n_prompt, rate(r->n_prompt, r->prompt_s), r->n_ids - r->n_prompt, generation_rate(r),
         (double)peak_memory() / (1 << 20));
}

/* ---- generation --------------------------------------------------------------------------------------- */

/* Feeds ids [first, first + n); interrupts are answered meanwhile. */
static void feed(struct run *r, size_t first, size_t n) {
    bool keeps_all = r->logits != NULL;
    for (size_t i = 0; i < n; i++)
        r->rows[i] = (moe_row){.position = (uint32_t)(first + i),
                               .token = r->ids[first + i],
                               .logits = keeps_all || first + i + 1 == r->n_ids};
    moe_error err = {{0}};
    signals_unlock();
    moe_status status = moe_session_eval(r->session, r->rows, n, &err);
    signals_lock();
    check(status, &err);
    for (size_t i = 0; keeps_all && i < n; i++)
        check(moe_tensor_writer_append(r->logits, moe_session_logits(r->session, i), &err), &err);
    if (r->rows[n - 1].logits) r->last_logits = moe_session_logits(r->session, keeps_all ? n - 1 : 0);
}

static bool is_eos(const struct run *r, uint32_t id) {
    for (size_t i = 0; i < r->info->n_eos; i++)
        if (r->info->eos[i] == (int64_t)id) return !r->options->ignore_eos;
    return false;
}

/* Takes a new token: prints it, and sets the reason if it is the last. */
static void take(struct run *r, uint32_t id) {
    r->ids[r->n_ids++] = id;
    size_t n_generated = r->n_ids - r->n_prompt;
    if (r->options->print_ids) output_format(&r->out, "%s%u", n_generated > 1 ? "," : "", id);
    if (is_eos(r, id)) {
        r->finish_reason = "eos"; /* a mark for the program, not text for the reader */
        return;
    }
    if (r->decoder) {
        const char *piece = NULL;
        size_t n = 0;
        moe_error err = {{0}};
        check(moe_decoder_next(&piece, &n, r->decoder, id, &err), &err);
        if (stops_feed(&r->stops, &r->text, piece, n)) r->finish_reason = "stop";
        show_new_text(r);
    }
    output_flush(&r->out);
    if (!r->finish_reason && n_generated == r->n_generate) r->finish_reason = "length";
}

static void generate(struct run *r) {
    r->started = seconds_now();
    moe_session_expect(r->session, 0, r->n_prompt);
    for (size_t done = 0; done < r->n_prompt && !interrupted();) {
        size_t left = r->n_prompt - done, n = left < r->n_rows ? left : r->n_rows;
        feed(r, done, n);
        done += n;
        progress_show(&r->progress, "reading", done, r->n_prompt);
    }
    progress_clear(&r->progress);
    stop_clock(r);
    r->is_generating = true;
    if (r->n_generate == 0 && !interrupted()) r->finish_reason = "length";
    while (!r->finish_reason && !interrupted()) {
        uint32_t id;
        moe_error err = {{0}};
        moe_status status =
            moe_sampler_choose(&id, r->sampler, r->last_logits, r->ids, r->n_ids, r->n_ids, &err);
        if (status != MOE_OK) output_flush(&r->out);
        check(status, &err);
        take(r, id);
        if (!r->finish_reason) feed(r, r->n_ids - 1, 1);
    }
}

static void read_prompt(struct text *prompt, const struct run_options *o) {
    if (o->prompt_file) {
        read_file(prompt, o->prompt_file, PROMPT_LIMIT);
    } else if (o->prompt && !strcmp(o->prompt, "-")) {
        read_input(prompt, PROMPT_LIMIT);
    } else if (o->prompt) {
        text_append(prompt, o->prompt, strlen(o->prompt));
    }
}

static void close_run(struct run *r) {
    moe_sampler_close(r->sampler);
    moe_session_close(r->session);
    moe_decoder_close(r->decoder);
    moe_tokenizer_close(r->tokenizer);
    moe_model_close(r->model);
    stops_free(&r->stops);
    free(r->text.data);
    free(r->rows);
    free(r->ids);
}

static int run_generate(const struct run_options *o, const char *path, const char *directory) {
    struct run *r = need(1, sizeof *r);
    *r = (struct run){
        .options = o, .path = path, .directory = directory, .stops = {.texts = o->stops, .n = o->n_stops}};
    struct text prompt = {0};
    output_open(&r->out);
    read_prompt(&prompt, o);
    progress_open(&r->progress, o->quiet);
    double start = seconds_now();
    open_model(r);
    set_prompt(r, &prompt);
    set_size(r);
    open_session(r);
    r->load_s = seconds_now() - start;
    show_model(r);
    show_prompt(r, &prompt);
    free(prompt.data);

    signals_begin(finish, r);
    generate(r);
    finish(r);
    output_close(&r->out);
    close_run(r);
    free(r);
    return interrupted() ? 128 + interrupted() : STATUS_DONE;
}

int main(int argc, char **argv) {
    signals_install();
    struct run_options options;
    run_options_read(&options, argc, argv);
    char *path = model_path(options.model), *directory = model_directory(path);
    int status = options.mode == RUN_GENERATE ? run_generate(&options, path, directory)
                 : options.mode == RUN_CHECK  ? run_check(&options, path, directory)
                                              : run_text_mode(&options, directory);
    free(directory);
    free(path);
    free(options.ids);
    return status;
}
