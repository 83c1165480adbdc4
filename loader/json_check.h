#ifndef MOE_LOADER_JSON_CHECK_H
#define MOE_LOADER_JSON_CHECK_H
/* What must hold of a text before cJSON may see it. */

#include <stdbool.h>
#include <stddef.h>

/* NULL if text [n] is one JSON value by RFC 8259 and within the limits of loader/json.h, with nothing but
 * white space around it; otherwise what is wrong, and *offset is where. Allocates nothing, does not recurse.
 */
const char *moe_json_check(size_t *offset, const char *text, size_t n);

/* The next number at or after `at`, outside strings, in a checked text that ends at `end`; there must be one.
 * Returns where it ends; *natural tells whether it is digits alone. */
const char *moe_json_skip_number(bool *natural, const char *at, const char *end);

#endif
