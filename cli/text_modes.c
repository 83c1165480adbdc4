#include "cli/text_modes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common.h"
#include "cli/output.h"
#include "cli/signals.h"

struct filter {
    const struct run_options *options;
    moe_tokenizer *tokenizer;
    struct output out;
    struct text line;
    size_t n_lines;
};

/* The lines before are answered; this one ends the program. */
_Noreturn static void fail_line(struct filter *f, const char *message) {
    output_flush(&f->out);
    die(STATUS_FAILED, "standard input: line %zu: %s", f->n_lines, message);
}

/* Undoes the escapes of --detokenize in place. */
static void unescape(struct filter *f) {
    char *to = f->line.data;
    for (size_t i = 0; i < f->line.n; i++) {
        char c = f->line.data[i];
        if (c == '\\') {
            char next = i + 1 < f->line.n ? f->line.data[++i] : '\0';
            if (next != 'n' && next != 'r' && next != '\\')
                fail_line(f, "a backslash that is not \\n, \\r or \\\\");
            c = next == 'n' ? '\n' : next == 'r' ? '\r' : '\\';
        }
        *to++ = c;
    }
    f->line.n = (size_t)(to - f->line.data);
}

static void tokenize_line(struct filter *f) {
    if (f->options->escaped) unescape(f);
    uint32_t *ids = NULL;
    size_t n = 0;
    moe_error err = {{0}};
    if (moe_tokenizer_encode(&ids, &n, f->tokenizer, f->line.data, f->line.n, f->options->bos != BOS_NONE,
                             &err) != MOE_OK)
        fail_line(f, err.message);
    for (size_t i = 0; i < n; i++) output_format(&f->out, "%s%u", i ? "," : "", ids[i]);
    output_write(&f->out, "\n", 1);
    moe_free(ids);
}

static void detokenize_line(struct filter *f) {
    uint64_t *wide = NULL;
    size_t n = 0;
    if (f->line.n > 0 && f->line.data[f->line.n - 1] == '\r') f->line.data[--f->line.n] = '\0';
    bool is_list = f->line.n == 0 || scan_integers(&wide, &n, f->line.data, 0, UINT64_MAX);
    if (!is_list || strlen(f->line.data) != f->line.n) fail_line(f, "expected ids between commas");
    uint32_t *ids = need(n, sizeof *ids);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) /* an id that no vocabulary has decodes to nothing */
        if (wide[i] <= UINT32_MAX) ids[kept++] = (uint32_t)wide[i];
    char *text = NULL;
    size_t n_text = 0;
    moe_error err = {{0}};
    if (moe_tokenizer_decode(&text, &n_text, f->tokenizer, ids, kept, f->options->skip_special, &err) !=
        MOE_OK)
        fail_line(f, err.message);
    for (size_t i = 0, start = 0; i <= n_text; i++) {
        const char *escape = i == n_text       ? ""
                             : text[i] == '\n' ? "\\n"
                             : text[i] == '\r' ? "\\r"
                             : text[i] == '\\' ? "\\\\"
                                               : NULL;
        if (!escape) continue;
        output_text(&f->out, text + start, i - start);
        output_write(&f->out, escape, strlen(escape));
        start = i + 1;
    }
    output_write(&f->out, "\n", 1);
    moe_free(text);
    free(ids);
    free(wide);
}

static void end_line(struct filter *f) {
    f->n_lines++;
    if (f->options->mode == RUN_TOKENIZE) {
        tokenize_line(f);
    } else {
        detokenize_line(f);
    }
    f->line.n = 0;
}

static void take_bytes(struct filter *f, const char *data, size_t n) {
    while (n > 0 && !interrupted()) {
        const char *end = memchr(data, '\n', n);
        size_t part = end ? (size_t)(end - data) : n;
        text_append(&f->line, data, part);
        if (f->line.n > PROMPT_LIMIT)
            die(STATUS_FAILED, "standard input: line %zu: more than %d bytes", f->n_lines + 1, PROMPT_LIMIT);
        if (end) end_line(f);
        part += end != NULL;
        data += part;
        n -= part;
    }
}

/* What was answered is printed before the program waits for more: it can be used over a pair of pipes. */
static size_t read_some(struct filter *f, char *chunk, size_t size) {
    output_flush(&f->out);
    ssize_t n;
    do {
        signals_unlock();
        n = interrupted() ? 0 : read(STDIN_FILENO, chunk, size);
        int reason = errno;
        signals_lock();
        if (n < 0 && reason != EINTR) die(STATUS_FAILED, "standard input: %s", strerror(reason));
    } while (n < 0);
    return (size_t)n;
}

static void flush_filter(void *context) {
    output_flush(&((struct filter *)context)->out);
}

int run_text_mode(const struct run_options *o, const char *directory) {
    struct filter *f = need(1, sizeof *f);
    f->options = o;
    output_open(&f->out);
    moe_error err = {{0}};
    if (moe_tokenizer_open(&f->tokenizer, directory, &err) != MOE_OK) die(STATUS_FAILED, "%s", err.message);
    signals_begin(flush_filter, f);
    char chunk[1 << 16];
    size_t n;
    while ((n = read_some(f, chunk, sizeof chunk)) > 0) take_bytes(f, chunk, n);
    if (f->line.n > 0 && !interrupted()) end_line(f);
    output_close(&f->out);
    moe_tokenizer_close(f->tokenizer);
    free(f->line.data);
    free(f);
    return interrupted() ? 128 + interrupted() : STATUS_DONE;
}
