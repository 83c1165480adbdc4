#ifndef MOE_TEXT_UNICODE_H
#define MOE_TEXT_UNICODE_H
/* What the reference knows of Unicode, from unicode_tables.h (measured, see scripts/make_unicode_tables.py):
 * its regular expressions are of Unicode 16, whatever version PCRE2 or utf8proc have here. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "text/charset.h"

/* Where a name stands; the reference takes a few names for different sets in different places. */
enum moe_class_place {
    MOE_CLASS_ALONE,     /* \w, \p{Word} */
    MOE_CLASS_IN_SET,    /* [\w], [\p{Word}] */
    MOE_CLASS_IN_BRACKET /* [[:word:]] */
};

/* Adds the class called `name` [n] (case, spaces, '-' and '_' ignored) to *set. MOE_E_UNSUPPORTED (without a
 * message: the caller knows the pattern) if there is none of that name. */
moe_status moe_unicode_add_class(struct moe_charset *set, const char *name, size_t n,
                                 enum moe_class_place place);

/* Adds everything that (?i:) takes for a member. */
bool moe_unicode_close_over_case(struct moe_charset *set);
/* A code point that folds to several, in some (?i:) match: is it one; is there one in the set. */
bool moe_unicode_folds_to_several(uint32_t code_point);
bool moe_unicode_has_several(const struct moe_charset *set);
/* Whether the literals [n] end in what one code point folds to: "ss" for U+00DF. */
bool moe_unicode_ends_in_fold(const uint32_t *literals, size_t n);

/* White_Space; what \s is as well. */
bool moe_unicode_is_space(uint32_t code_point);
/* A word character to an added token marked single_word. */
bool moe_unicode_is_word(uint32_t code_point);
/* What the pre-tokenizer Digits calls a number. */
bool moe_unicode_is_numeric(uint32_t code_point);
/* Whether the reference's normal forms take it for a starter without any mapping: what is younger than them.
 */
bool moe_unicode_is_inert(uint32_t code_point);

#endif
