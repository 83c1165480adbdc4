#ifndef MOE_TEXT_ADDED_TOKENS_H
#define MOE_TEXT_ADDED_TOKENS_H
/* The "added_tokens" of tokenizer.json: strings that are found in a text before the model sees it, and stand
 * for one id each. */

#include "loader/json.h"
#include "text/buffer.h"
#include "text/normalizer.h"
#include "text/strmap.h"
#include "text/trie.h"
#include "text/vocab.h"

struct moe_added_token;

struct moe_added_tokens {
    struct moe_added_token *tokens; /* [n] one per id */
    size_t n, capacity;
    uint32_t *token_of; /* [n_ids] token + 1 of an id, or 0 */
    size_t n_ids;
    struct moe_strmap contents;      /* value: the id */
    struct moe_strmap specials;      /* contents of special tokens */
    struct moe_trie raw, normalized; /* found before and after the normalizer; values: tokens */
};

/* `v`: the list, or absent. Ids are given as the reference gives them: the vocabulary's for a string that it
 * has, else the next free one; those in the file do not count. */
moe_status moe_added_tokens_open(struct moe_added_tokens *out, struct moe_json_value v,
                                 const struct moe_vocab *vocab, const struct moe_normalizer *normalizer,
                                 moe_error *err);
void moe_added_tokens_close(struct moe_added_tokens *added);

/* The text that an id decodes to, NULL if it is no added token. *skipped: skip_special leaves it out. */
const char *moe_added_tokens_text(size_t *n, bool *skipped, const struct moe_added_tokens *added,
                                  uint32_t id);
/* Whether the id is an added token marked special. */
bool moe_added_tokens_special(const struct moe_added_tokens *added, uint32_t id);

/* Largest id + 1. */
size_t moe_added_tokens_size(const struct moe_added_tokens *added);

/* A part of a text: an added token, or what lies between. */
struct moe_span {
    size_t start, end;
    bool is_token;
    uint32_t id;
};

struct moe_spans {
    struct moe_span *list;
    size_t n, capacity;
};

/* Cuts text [n] at the tokens that are looked for in normalized text, or at the others. */
moe_status moe_added_tokens_find(struct moe_spans *out, const struct moe_added_tokens *added,
                                 const char *text, size_t n, bool normalized, moe_error *err);

#endif
