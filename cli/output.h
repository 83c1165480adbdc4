#ifndef MOE_CLI_OUTPUT_H
#define MOE_CLI_OUTPUT_H
/* Standard output, every write of it checked; JSON; and what a terminal shows besides. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OUTPUT_BUFFER = 1 << 16 };

struct output {
    bool is_terminal;
    size_t used;
    char buffer[OUTPUT_BUFFER];
};

/* Each of these ends the program with a message when standard output does not take the bytes. */
void output_open(struct output *o);
void output_write(struct output *o, const char *data, size_t n); /* as it is */
void output_text(struct output *o, const char *data,
                 size_t n); /* a terminal gets control characters visibly */
void output_format(struct output *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void output_flush(struct output *o);
void output_close(struct output *o); /* flushes; a file system may complain only now */

/* JSON, indented, straight to the output. `key` is NULL inside an array and for the outermost value. */
struct json {
    struct output *out;
    int depth;
    bool has_item; /* the next one needs a comma */
};
void json_open(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);                 /* '}' or ']' */
void json_string(struct json *j, const char *key, const char *s);
void json_bytes(struct json *j, const char *key, const char *s, size_t n); /* not UTF-8: U+FFFD */
void json_integer(struct json *j, const char *key, uint64_t x);
void json_signed(struct json *j, const char *key, int64_t x);
void json_real(struct json *j, const char *key, double x); /* not finite: null */
void json_bool(struct json *j, const char *key, bool x);
void json_null(struct json *j, const char *key);
void json_ids(struct json *j, const char *key, const uint32_t *ids, size_t n); /* on one line */

/* A bar on standard error, drawn only on a terminal and only for what takes a while. */
struct progress {
    bool is_on, is_coloured, is_drawn;
    double started, drawn;
};
void progress_open(struct progress *p, bool quiet);
void progress_show(struct progress *p, const char *what, size_t done, size_t total);
void progress_clear(struct progress *p);

/* Colours: standard error is a terminal that has them, and NO_COLOR is not set. */
bool has_colour(void);

#endif
