#ifndef MOE_TEXT_SPLITTER_H
#define MOE_TEXT_SPLITTER_H
/* A text cut at the matches of a pattern: what becomes of a match is the behaviour. */

#include "text/matcher.h"

enum moe_split_behavior {
    MOE_SPLIT_REMOVED,
    MOE_SPLIT_ISOLATED,
    MOE_SPLIT_MERGED_WITH_PREVIOUS,
    MOE_SPLIT_MERGED_WITH_NEXT,
    MOE_SPLIT_CONTIGUOUS /* neighbouring matches, and what is between matches, are one piece each */
};

/* Gets the pieces in order, none of them empty; false stops the work for want of memory. */
typedef bool moe_split_sink(void *context, size_t start, size_t end);
/* Whether a character [n bytes] is a match by itself. */
typedef bool moe_split_test(const void *context, const char *character, size_t n);

moe_status moe_split_by_pattern(struct moe_matcher *matcher, const struct moe_pattern *pattern,
                                const char *text, size_t n, enum moe_split_behavior behavior, bool invert,
                                moe_split_sink *sink, void *context, moe_error *err);
/* False: the sink stopped it. */
bool moe_split_by_character(const char *text, size_t n, moe_split_test *is_match, const void *test_context,
                            enum moe_split_behavior behavior, moe_split_sink *sink, void *context);

#endif
