#ifndef MOE_TEXT_REGEX_H
#define MOE_TEXT_REGEX_H
/* Regular expressions of the reference (Oniguruma, Ruby syntax, Unicode 16), matched by PCRE2.
 *
 * A pattern only ever asks whether a character is in one of its classes, so code points that no class tells
 * apart are one letter of a small alphabet. Pattern and text are rewritten into that alphabet, one byte per
 * character, and PCRE2 sees bytes: its own Unicode tables and its syntax beyond the basics play no part. See
 * docs/tokenizers.md. */

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "text/buffer.h"

struct moe_regex; /* immutable once open: any number of threads may scan with it */

/* `where` names the pattern's place in messages. MOE_E_UNSUPPORTED for what is not translated, MOE_E_FORMAT
 * for what the reference refuses as well; the message quotes the pattern. */
moe_status moe_regex_open(struct moe_regex **out, const char *pattern, const char *where, moe_error *err);
void moe_regex_close(struct moe_regex *regex); /* NULL is fine */
/* Whether it can match the empty string. */
bool moe_regex_matches_empty(const struct moe_regex *regex);

/* The matches in one text after another; keeps its memory between texts. Zeroed to begin with. */
struct moe_regex_scan {
    const struct moe_regex *regex;
    const char *text;          /* borrowed */
    struct moe_bytes alphabet; /* the text, a byte per character */
    void *match;               /* pcre2_match_data */
    size_t next;               /* where to search from, in characters */
    bool skip_empty;           /* the next empty match is passed over */
    size_t characters, bytes;  /* the same place counted both ways */
};

moe_status moe_regex_scan_begin(struct moe_regex_scan *scan, const struct moe_regex *regex, const char *text,
                                size_t n, moe_error *err);
/* The next match, bytes *start to *end; *found is false after the last. */
moe_status moe_regex_scan_next(struct moe_regex_scan *scan, bool *found, size_t *start, size_t *end,
                               moe_error *err);
void moe_regex_scan_free(struct moe_regex_scan *scan);

#endif
