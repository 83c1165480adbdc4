#include "cli/output.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common.h"

/* ---- standard output ---------------------------------------------------------------------------------- */

void output_open(struct output *o) {
    o->is_terminal = isatty(STDOUT_FILENO);
    o->used = 0;
    if (write(STDOUT_FILENO, "", 0) < 0) die(STATUS_FAILED, "standard output: %s", strerror(errno));
}

void output_flush(struct output *o) {
    size_t done = 0;
    while (done < o->used) {
        ssize_t n = write(STDOUT_FILENO, o->buffer + done, o->used - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) { /* a terminal that another program left non-blocking */
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            o->used = 0;
            die(STATUS_FAILED, "standard output: %s", strerror(errno));
        }
    }
    o->used = 0;
}

void output_write(struct output *o, const char *data, size_t n) {
    while (n > 0) {
        if (o->used == sizeof o->buffer) output_flush(o);
        size_t room = sizeof o->buffer - o->used, part = n < room ? n : room;
        memcpy(o->buffer + o->used, data, part);
        o->used += part;
        data += part;
        n -= part;
    }
}

void output_text(struct output *o, const char *data, size_t n) {
    if (!o->is_terminal) {
        output_write(o, data, n);
        return;
    }
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t length = utf8_next(&code, data + i, n - i);
        if (code == UINT32_MAX) {
            output_format(o, "\\x%02x", (unsigned)(unsigned char)data[i]);
        } else if (is_control(code) && code != '\n' && code != '\t') {
            output_format(o, code < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)code);
        } else {
            output_write(o, data + i, length);
        }
        i += length;
    }
}

void output_format(struct output *o, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0) output_write(o, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void output_close(struct output *o) {
    output_flush(o);
    if (close(STDOUT_FILENO) != 0 && errno != EINTR)
        die(STATUS_FAILED, "standard output: %s", strerror(errno));
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static void json_quote(struct output *o, const char *s, size_t n) {
    output_write(o, "\"", 1);
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t length = utf8_next(&code, s + i, n - i);
        if (code == UINT32_MAX) {
            output_format(o, "\\ufffd");
        } else if (code == '"' || code == '\\') {
            output_format(o, "\\%c", (char)code);
        } else if (code == '\n') {
            output_format(o, "\\n");
        } else if (is_control(code)) { /* more than JSON asks: the object may be shown on a terminal */
            output_format(o, "\\u%04x", (unsigned)code);
        } else {
            output_write(o, s + i, length);
        }
        i += length;
    }
    output_write(o, "\"", 1);
}

static void json_item(struct json *j, const char *key) {
    if (j->has_item) output_write(j->out, ",", 1);
    if (j->depth > 0) output_format(j->out, "\n%*s", 2 * j->depth, "");
    if (key) {
        json_quote(j->out, key, strlen(key));
        output_write(j->out, ": ", 2);
    }
    j->has_item = true;
}

void json_open(struct json *j, const char *key, char bracket) {
    json_item(j, key);
    output_write(j->out, &bracket, 1);
    j->depth++;
    j->has_item = false;
}

void json_close(struct json *j, char bracket) {
    j->depth--;
    if (j->has_item) output_format(j->out, "\n%*s", 2 * j->depth, "");
    output_write(j->out, &bracket, 1);
    j->has_item = true;
    if (j->depth == 0) output_write(j->out, "\n", 1);
}

void json_bytes(struct json *j, const char *key, const char *s, size_t n) {
    json_item(j, key);
    json_quote(j->out, s, n);
}

void json_string(struct json *j, const char *key, const char *s) {
    json_bytes(j, key, s, strlen(s));
}

void json_integer(struct json *j, const char *key, uint64_t x) {
    json_item(j, key);
    output_format(j->out, "%llu", (unsigned long long)x);
}

void json_signed(struct json *j, const char *key, int64_t x) {
    json_item(j, key);
    output_format(j->out, "%lld", (long long)x);
}

void json_real(struct json *j, const char *key, double x) {
    json_item(j, key);
    if (isfinite(x)) {
        output_format(j->out, "%.9g", x);
    } else {
        output_format(j->out, "null");
    }
}

void json_bool(struct json *j, const char *key, bool x) {
    json_item(j, key);
    output_format(j->out, x ? "true" : "false");
}

void json_null(struct json *j, const char *key) {
    json_item(j, key);
    output_format(j->out, "null");
}

void json_ids(struct json *j, const char *key, const uint32_t *ids, size_t n) {
    json_item(j, key);
    output_write(j->out, "[", 1);
    for (size_t i = 0; i < n; i++) output_format(j->out, "%s%u", i ? ", " : "", ids[i]);
    output_write(j->out, "]", 1);
}

/* ---- the terminal ------------------------------------------------------------------------------------- */

bool has_colour(void) {
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    bool is_refused = no_colour && *no_colour; /* no-color.org: present and not empty */
    return isatty(STDERR_FILENO) && !is_refused && term && strcmp(term, "dumb") != 0;
}

void progress_open(struct progress *p, bool quiet) {
    const char *term = getenv("TERM");
    *p = (struct progress){.is_on = !quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0,
                           .is_coloured = has_colour(),
                           .started = seconds_now()};
}

static void write_error(const char *s, size_t n) {
    if (write(STDERR_FILENO, s, n) < 0) return; /* a bar that cannot be drawn is no failure */
}

void progress_show(struct progress *p, const char *what, size_t done, size_t total) {
    enum { WIDTH = 30 };
    double now = p->is_on ? seconds_now() : 0;
    /* nothing for what is over in a moment, and at most 20 times a second */
    if (!p->is_on || total == 0 || now - p->started < 0.25 || now - p->drawn < 0.05) return;
    p->drawn = now;
    p->is_drawn = true;
    size_t filled = done >= total ? WIDTH : (size_t)((double)done / (double)total * WIDTH);
    char bar[WIDTH + 1];
    memset(bar, '.', WIDTH);
    memset(bar, '=', filled);
    bar[WIDTH] = '\0';
    char line[256];
    int n = snprintf(line, sizeof line, "\r%s [%s%s%s] %zu/%zu ", what, p->is_coloured ? "\033[36m" : "", bar,
                     p->is_coloured ? "\033[0m" : "", done, total);
    write_error(line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

void progress_clear(struct progress *p) {
    char blank[82];
    if (p->is_drawn) {
        memset(blank, ' ', sizeof blank);
        blank[0] = blank[80] = '\r';
        write_error(blank, 81);
    }
    p->is_drawn = false;
    p->started = seconds_now(); /* of the next one */
}
