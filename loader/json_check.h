#ifndef MOE_LOADER_JSON_CHECK_H
#define MOE_LOADER_JSON_CHECK_H
/* What must hold of a text before cJSON may see it. */

#include <stddef.h>

/* NULL if text [n] is one JSON value by RFC 8259 and within the limits of loader/json.h, with nothing but
 * white space around it; otherwise what is wrong, and *offset is where. Allocates nothing, does not recurse.
 */
const char *moe_json_check(size_t *offset, const char *text, size_t n);

/* The next number token at or after `at` in a checked text, outside strings; there must be one. */
const char *moe_json_next_number(const char *at);

#endif
