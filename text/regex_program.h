#ifndef MOE_TEXT_REGEX_PROGRAM_H
#define MOE_TEXT_REGEX_PROGRAM_H
/* A pattern taken apart: PCRE2 syntax between sets of code points. */

#include "base/status.h"
#include "text/charset.h"

enum moe_regex_item_kind {
    MOE_REGEX_TEXT,  /* copied as it is */
    MOE_REGEX_SET,   /* one character out of a set */
    MOE_REGEX_REPEAT /* {min,max} */
};

struct moe_regex_item {
    enum moe_regex_item_kind kind;
    const char *text; /* static */
    size_t set;
    unsigned min, max; /* max UINT_MAX: no upper bound */
};

struct moe_regex_program {
    struct moe_regex_item *items;
    size_t n_items, items_capacity;
    struct moe_charset *sets;
    size_t n_sets, sets_capacity;
};

enum { MOE_REGEX_MAX_SETS = 1024, MOE_REGEX_MAX_DEPTH = 64 };

moe_status moe_regex_parse(struct moe_regex_program *out, const char *pattern, const char *where,
                           moe_error *err);
void moe_regex_program_free(struct moe_regex_program *program);

/* Takes over *set (freed, or kept as a set of the program) and gives its number. */
moe_status moe_regex_program_add_set(size_t *number, struct moe_regex_program *program,
                                     struct moe_charset *set);

#endif
