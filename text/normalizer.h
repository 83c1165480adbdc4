#ifndef MOE_TEXT_NORMALIZER_H
#define MOE_TEXT_NORMALIZER_H
/* The "normalizer" of tokenizer.json: what is done to a text before anything looks at it. */

#include "loader/json.h"
#include "text/buffer.h"
#include "text/matcher.h"

struct moe_normalizer {
    struct moe_normalizer_step *steps;
    size_t n, capacity;
};

/* A text on its way. `from_start` bytes at its beginning come from the first character of the whole input:
 * the reference asks this of a piece, in place of whether it is the first one. */
struct moe_normalized {
    struct moe_bytes text, spare;
    size_t from_start;
    struct moe_matcher matcher;
};

/* `v`: the component, or absent for none. */
moe_status moe_normalizer_open(struct moe_normalizer *out, struct moe_json_value v, moe_error *err);
void moe_normalizer_close(struct moe_normalizer *normalizer);

/* Puts the normalized text [n], n > 0, into *out; `at_start`: it is the beginning of the input. */
moe_status moe_normalizer_apply(struct moe_normalized *out, const struct moe_normalizer *normalizer,
                                const char *text, size_t n, bool at_start, moe_error *err);
void moe_normalized_free(struct moe_normalized *normalized);

#endif
