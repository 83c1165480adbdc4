#ifndef MOE_TEXT_PRETOKENIZER_H
#define MOE_TEXT_PRETOKENIZER_H
/* The "pre_tokenizer" of tokenizer.json: cuts a normalized text into the words that the model sees. */

#include "loader/json.h"
#include "text/buffer.h"
#include "text/matcher.h"

struct moe_pretokenizer {
    struct moe_pretokenizer_step *steps;
    size_t n, capacity;
};

struct moe_piece {
    size_t offset, n;
    size_t from_start; /* bytes of it that come from the first character of the input; see normalizer.h */
};

struct moe_pieces {
    struct moe_bytes text;
    struct moe_piece *list;
    size_t n, capacity;
};

/* Zeroed to begin with; keeps its memory. */
struct moe_pretokens {
    struct moe_pieces pieces; /* the result */
    struct moe_pieces spare;
    struct moe_matcher matcher;
};

/* `v`: the component, or absent for none. */
moe_status moe_pretokenizer_open(struct moe_pretokenizer *out, struct moe_json_value v, moe_error *err);
void moe_pretokenizer_close(struct moe_pretokenizer *pretokenizer);

/* Cuts text [n], n > 0, of which the first from_start bytes come from the first character of the input. */
moe_status moe_pretokenizer_apply(struct moe_pretokens *out, const struct moe_pretokenizer *pretokenizer,
                                  const char *text, size_t n, size_t from_start, moe_error *err);
void moe_pretokens_free(struct moe_pretokens *pretokens);

#endif
