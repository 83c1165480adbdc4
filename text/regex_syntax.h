#ifndef MOE_TEXT_REGEX_SYNTAX_H
#define MOE_TEXT_REGEX_SYNTAX_H
/* Shared by the two halves of the parser: expressions (regex_parse.c) and classes (regex_class.c). */

#include <stdbool.h>

#include "text/charset.h"
#include "text/regex_program.h"

struct moe_regex_options {
    bool ignore_case, dot_all, extended;
};

struct moe_regex_parser {
    const char *pattern, *p; /* p: what comes next; the pattern is terminated */
    const char *where;
    struct moe_regex_program *program;
    unsigned depth;       /* groups and classes open */
    bool in_negative;     /* inside a class with '^' */
    uint32_t literals[3]; /* the last ones in a row that ignore case */
    size_t n_literals;
    bool nullable; /* what was parsed last, an atom or branches, can match nothing */
    moe_error *err;
};

/* Fails with "WHERE: regular expression PATTERN: WHAT". */
moe_status moe_regex_refuse(const struct moe_regex_parser *p, moe_status status, const char *what);
moe_status moe_regex_no_memory(const struct moe_regex_parser *p);

/* One character at p->p, past it afterwards. */
uint32_t moe_regex_take(struct moe_regex_parser *p);

/* What a backslash and what follows it mean for one character: p->p is past the backslash. `set` gets the
 * class, or the single code point *literal. *known is false, and nothing is consumed, if it is no character.
 */
moe_status moe_regex_escape(struct moe_regex_parser *p, struct moe_charset *set, bool *is_literal,
                            uint32_t *literal, bool *known, bool in_class);

/* A class; p->p is past its '['. */
moe_status moe_regex_class(struct moe_regex_parser *p, struct moe_charset *set, bool ignore_case);

#endif
