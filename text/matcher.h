#ifndef MOE_TEXT_MATCHER_H
#define MOE_TEXT_MATCHER_H
/* The matches of a pattern, which is a string or a regular expression, in a text. */

#include "text/component.h"

struct moe_pattern {
    char *literal; /* NULL: it is `regex` */
    struct moe_regex *regex;
};

struct moe_matcher {
    const struct moe_pattern *pattern;
    const char *text; /* borrowed */
    size_t n, next;
    struct moe_regex_scan scan;
};

moe_status moe_pattern_open(struct moe_pattern *out, struct moe_json_value v, moe_error *err);
void moe_pattern_close(struct moe_pattern *pattern);

/* Like moe_regex_scan_begin and the rest; zeroed to begin with, it keeps its memory. */
moe_status moe_matcher_begin(struct moe_matcher *m, const struct moe_pattern *pattern, const char *text,
                             size_t n, moe_error *err);
moe_status moe_matcher_next(struct moe_matcher *m, bool *found, size_t *start, size_t *end, moe_error *err);
void moe_matcher_free(struct moe_matcher *m);

#endif
