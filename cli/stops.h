#ifndef MOE_CLI_STOPS_H
#define MOE_CLI_STOPS_H
/* Texts that end generation, found however they are cut into pieces. */

#include "cli/common.h"

struct stops {
    const char *const *texts; /* [n], borrowed, none of them empty */
    size_t n;
    struct text held; /* what may still become a stop text */
};

/* Appends to `out` what of the text so far cannot be part of a stop text. True: one was completed; the text
 * before it is in `out`, and that was all. The one that ends first counts, and of those the longest. */
bool stops_feed(struct stops *s, struct text *out, const char *piece, size_t n);
/* The text is over: appends what was held back. */
void stops_finish(struct stops *s, struct text *out);
void stops_free(struct stops *s);

#endif
