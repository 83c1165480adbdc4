#ifndef MOE_TEXT_CHARSET_H
#define MOE_TEXT_CHARSET_H
/* Sets of code points, as the classes of a regular expression denote them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOE_MAX_CODE_POINT = 0x10FFFF };

struct moe_range {
    uint32_t first, last; /* both inside */
};

/* Ranges in ascending order, apart by at least one code point. All functions that return bool say whether
 * there was memory; after a no, the set is still one, of unspecified content. */
struct moe_charset {
    struct moe_range *ranges;
    size_t n, capacity;
};

bool moe_charset_add(struct moe_charset *set, uint32_t first, uint32_t last);
bool moe_charset_add_ranges(struct moe_charset *set, const struct moe_range *ranges, size_t n);
bool moe_charset_add_set(struct moe_charset *set, const struct moe_charset *other);
/* Ranges to append in any order; moe_charset_tidy makes it a set again. */
bool moe_charset_append(struct moe_charset *set, uint32_t first, uint32_t last);
void moe_charset_tidy(struct moe_charset *set);
bool moe_charset_invert(struct moe_charset *set);
bool moe_charset_intersect(struct moe_charset *set, const struct moe_charset *other);
bool moe_charset_has(const struct moe_charset *set, uint32_t code_point);
bool moe_charset_equal(const struct moe_charset *a, const struct moe_charset *b);
void moe_charset_free(struct moe_charset *set);

#endif
