#ifndef MOE_CLI_COMMON_H
#define MOE_CLI_COMMON_H
/* What the programs share: how they end, how they read numbers and files. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe.h"

/* Defined once by each program: its name in messages. */
extern const char program_name[];

/* Exit statuses beside 128 + signal number. */
enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* Prints one line, "program: message", control characters made visible, and ends the program. */
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same line, and goes on. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory or the end of the program; n * size is checked. Free with free(). */
void *need(size_t n, size_t size);
/* Grows *p, an array of elements of `size` bytes with room for *room, so that it holds `wanted`. */
void need_room(void *p, size_t *room, size_t wanted, size_t size);

/* Bytes that grow; always terminated once something was appended. */
struct text {
    char *data;
    size_t n, room;
};
void text_append(struct text *t, const char *data, size_t n);

/* A number in decimal from min to max and nothing else, or wrong usage naming `option`. */
uint64_t parse_integer(const char *option, const char *value, uint64_t min, uint64_t max);
double parse_real(const char *option, const char *value, double min, double max);
/* Integers separated by commas, at least one, spaces around them allowed: *out [*n] belongs to the caller.
 * False: there is something else after the first *n, which *out holds. */
bool scan_integers(uint64_t **out, size_t *n, const char *value, uint64_t min, uint64_t max);
/* The same of an option, or wrong usage; how many. */
size_t parse_integers(uint64_t **out, const char *option, const char *value, uint64_t min, uint64_t max);
moe_gemm parse_gemm(const char *option, const char *value);
moe_precision parse_precision(const char *option, const char *value);
/* ", activations in bf16" where that is how a model computes, else "". */
const char *precision_note(const moe_model_info *info);
/* What --pack and --huge-pages ask for; wrong usage if it was the other before. */
void add_weights_form(moe_weights_form *out, moe_weights_form form);
/* Wrong usage unless value is the name of an instruction set that this build has. */
void check_isa(const char *option, const char *value);
/* The same for the formats of synthetic weights. */
void check_synthetic_format(const char *option, const char *value);
/* Says what getopt_long, which returned ':' or '?', could not use. Long options without a value have numbers
 * from 256 on, so that they can be told from short ones here. */
_Noreturn void die_of_option(int result, char *const *argv);

/* A whole file: a regular one, or a pipe until its end. More than `limit` bytes are an error. */
void read_file(struct text *out, const char *file, size_t limit);
/* The rest of standard input, likewise; an interrupt ends the program. */
void read_input(struct text *out, size_t limit);

/* The length of the UTF-8 sequence at s [n], n > 0, and its code point; 1 and UINT32_MAX where it is not one.
 */
size_t utf8_next(uint32_t *code, const char *s, size_t n);
/* Whether a terminal would do something else than show it: controls, and what reorders text. */
bool is_control(uint32_t code);
bool is_utf8(const char *s, size_t n);

double seconds_now(void); /* monotonic */
size_t peak_memory(void); /* bytes that this process has held at once, mapped files included */

#endif
