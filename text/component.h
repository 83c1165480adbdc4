#ifndef MOE_TEXT_COMPONENT_H
#define MOE_TEXT_COMPONENT_H
/* What the readers of tokenizer.json's components share: a "type", and sequences of components. */

#include "base/status.h"
#include "loader/json.h"
#include "text/regex.h"

/* The component's "type"; a component without one is an error. */
moe_status moe_component_type(const char **type, struct moe_json_value v, moe_error *err);
/* "FILE: PATH: "TYPE" is not implemented" */
moe_status moe_component_unknown(struct moe_json_value v, const char *type, moe_error *err);
/* The file and path of v, for messages that come later. */
void moe_component_where(char *out, size_t size, struct moe_json_value v);

/* Calls `read` for v; for every member of its list `key`, and theirs, if it is a Sequence. */
typedef moe_status moe_component_reader(void *context, const char *type, struct moe_json_value v,
                                        moe_error *err);
moe_status moe_component_each(struct moe_json_value v, const char *key, moe_component_reader *read,
                              void *context, moe_error *err);

/* {"String": literal} or {"Regex": pattern}: one of the two is not NULL afterwards, and owned by the caller.
 */
moe_status moe_component_pattern(char **literal, struct moe_regex **regex, struct moe_json_value v,
                                 moe_error *err);
/* A string of one character, as UTF-8 [*n]. */
moe_status moe_component_character(char out[4], size_t *n, struct moe_json_value v, moe_error *err);

#endif
