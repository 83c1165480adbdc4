#include "cli/common.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/signals.h"

/* ---- messages ----------------------------------------------------------------------------------------- */

/* One write, so that lines of several programs do not mix. */
static void print_line(const char *format, va_list args) {
    char line[2048];
    int prefix = snprintf(line, sizeof line, "%s: ", program_name);
    size_t room = sizeof line - (size_t)prefix - 1;
    int n = vsnprintf(line + prefix, room, format, args);
    size_t end = (size_t)prefix + (n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1);
    for (size_t i = 0; i < end;) { /* names and texts may hold anything: a message stays one line */
        uint32_t code;
        size_t length = utf8_next(&code, line + i, end - i);
        if (is_control(code)) memset(line + i, '?', length);
        i += length;
    }
    line[end++] = '\n';
    if (write(STDERR_FILENO, line, end) < 0) return; /* nowhere left to say so */
}

void die(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
    if (interrupted())
        _exit(128 + interrupted()); /* an evaluation may still be running: nothing is torn down */
    exit(status);
}

void note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

void *need(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) die(STATUS_FAILED, "out of memory: %zu elements of %zu bytes wanted", n, size);
    return p;
}

void need_room(void *p, size_t *room, size_t wanted, size_t size) {
    void *old;
    memcpy(&old, p, sizeof old); /* p points to a pointer of any type */
    if (wanted <= *room) return;
    size_t n = wanted > SIZE_MAX / 2 ? wanted : wanted * 2;
    if (n < 64) n = 64;
    void *grown = n > SIZE_MAX / size ? NULL : realloc(old, n * size);
    if (!grown) die(STATUS_FAILED, "out of memory: %zu elements of %zu bytes wanted", n, size);
    memcpy(p, &grown, sizeof grown);
    *room = n;
}

void text_append(struct text *t, const char *data, size_t n) {
    need_room(&t->data, &t->room, t->n + n + 1, 1);
    if (n) memcpy(t->data + t->n, data, n);
    t->n += n;
    t->data[t->n] = '\0';
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

/* Decimal digits at *s, which is moved past them; false if there are none or they exceed 64 bits. */
static bool read_digits(uint64_t *out, const char **s) {
    const char *start = *s;
    uint64_t value = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**s - '0'), &value))
            return false;
    *out = value;
    return *s != start;
}

uint64_t parse_integer(const char *option, const char *value, uint64_t min, uint64_t max) {
    uint64_t n;
    const char *end = value;
    if (!read_digits(&n, &end) || *end || n < min || n > max)
        die(STATUS_USAGE, "%s: '%s', expected an integer from %llu to %llu", option, value,
            (unsigned long long)min, (unsigned long long)max);
    return n;
}

double parse_real(const char *option, const char *value, double min, double max) {
    char *end;
    bool plain = value[0] != '\0' && strspn(value, "+-.0123456789eE") == strlen(value);
    double x = plain ? strtod(value, &end) : 0;
    if (!plain || *end || !(x >= min && x <= max))
        die(STATUS_USAGE, "%s: '%s', expected a number from %g to %g", option, value, min, max);
    return x;
}

bool scan_integers(uint64_t **out, size_t *n, const char *value, uint64_t min, uint64_t max) {
    size_t room = 0;
    *out = NULL;
    *n = 0;
    for (const char *s = value;; s++) {
        uint64_t x;
        s += strspn(s, " ");
        if (!read_digits(&x, &s) || x < min || x > max) return false;
        need_room(out, &room, *n + 1, sizeof **out);
        (*out)[(*n)++] = x;
        s += strspn(s, " ");
        if (*s == '\0') return true;
        if (*s != ',') return false;
    }
}

size_t parse_integers(uint64_t **out, const char *option, const char *value, uint64_t min, uint64_t max) {
    size_t n;
    if (!scan_integers(out, &n, value, min, max))
        die(STATUS_USAGE, "%s: '%.60s', after item %zu: expected integers from %llu to %llu between commas",
            option, value, n, (unsigned long long)min, (unsigned long long)max);
    return n;
}

moe_gemm parse_gemm(const char *option, const char *value) {
    if (!strcmp(value, "native")) return MOE_GEMM_NATIVE;
    if (!strcmp(value, "openblas")) return MOE_GEMM_OPENBLAS;
    die(STATUS_USAGE, "%s: '%s', expected native or openblas", option, value);
}

moe_precision parse_precision(const char *option, const char *value) {
    if (!strcmp(value, "fp32")) return MOE_PRECISION_FP32;
    if (!strcmp(value, "bf16")) return MOE_PRECISION_BF16;
    die(STATUS_USAGE, "%s: '%s', expected fp32 or bf16", option, value);
}

const char *precision_note(const moe_model_info *info) {
    return strcmp(info->precision, "bf16") == 0 ? ", activations in bf16" : "";
}

void add_weights_form(moe_weights_form *out, moe_weights_form form) {
    if (*out != MOE_WEIGHTS_MAPPED && *out != form) die(STATUS_USAGE, "--huge-pages contradicts --pack");
    *out = form;
}

static const char *isa_name(size_t i) {
    return moe_isa_name(i, NULL);
}

static void check_name(const char *option, const char *value, const char *(*name_at)(size_t i)) {
    char names[256] = "";
    const char *name;
    for (size_t i = 0; (name = name_at(i)); i++) {
        if (!strcmp(name, value)) return;
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", name);
    }
    die(STATUS_USAGE, "%s: '%s', expected one of %s", option, value, names);
}

void check_isa(const char *option, const char *value) {
    check_name(option, value, isa_name);
}

void check_synthetic_format(const char *option, const char *value) {
    check_name(option, value, moe_synthetic_format_name);
}

void die_of_option(int result, char *const *argv) {
    const char *word = argv[optind - 1];
    if (result == ':' && optopt < 256) die(STATUS_USAGE, "option -%c needs a value (see --help)", optopt);
    if (result == ':') die(STATUS_USAGE, "option %s needs a value (see --help)", word);
    if (optopt >= 256) die(STATUS_USAGE, "option %s takes no value (see --help)", word);
    if (optopt) die(STATUS_USAGE, "unknown option -%c (see --help)", optopt);
    die(STATUS_USAGE, "unknown or ambiguous option %s (see --help)", word);
}

/* ---- files -------------------------------------------------------------------------------------------- */

static void read_all(struct text *out, int fd, const char *name, size_t limit) {
    char chunk[1 << 16];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0) break;
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            die(STATUS_FAILED, "%s: %s", name, strerror(errno));
        }
        if (n < 0 && interrupted()) exit(128 + interrupted());
        if (n < 0) continue;
        text_append(out, chunk, (size_t)n);
        if (out->n > limit) die(STATUS_FAILED, "%s: more than %zu bytes", name, limit);
    }
    text_append(out, "", 0);
}

void read_file(struct text *out, const char *file, size_t limit) {
    /* without O_NONBLOCK a FIFO that nobody writes would hold the program for ever; with it, it is empty */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) die(STATUS_FAILED, "%s: %s", file, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
        die(STATUS_FAILED, "%s: %s, expected a file", file,
            S_ISDIR(st.st_mode) ? "a directory" : "a device or socket");
    read_all(out, fd, file, limit);
    close(fd);
}

void read_input(struct text *out, size_t limit) {
    read_all(out, STDIN_FILENO, "standard input", limit);
}

/* ---- UTF-8 -------------------------------------------------------------------------------------------- */

size_t utf8_next(uint32_t *code, const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = u[0] < 0x80   ? 1
                    : u[0] < 0xc0 ? 0
                    : u[0] < 0xe0 ? 2
                    : u[0] < 0xf0 ? 3
                    : u[0] < 0xf8 ? 4
                                  : 0;
    *code = UINT32_MAX;
    if (length == 0 || length > n) return 1;
    uint32_t value = length == 1 ? u[0] : u[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((u[i] & 0xc0) != 0x80) return 1;
        value = value << 6 | (u[i] & 0x3f);
    }
    if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 1;
    *code = value;
    return length;
}

bool is_utf8(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        uint32_t code;
        i += utf8_next(&code, s + i, n - i);
        if (code == UINT32_MAX) return false;
    }
    return true;
}

bool is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == UINT32_MAX || /* C0, DEL, C1, invalid */
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || /* reordering */
           code == 0x2028 || code == 0x2029 || code == 0x200e || code == 0x200f || code == 0x061c;
}

/* ---- the process -------------------------------------------------------------------------------------- */

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

size_t peak_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}
