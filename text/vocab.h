#ifndef MOE_TEXT_VOCAB_H
#define MOE_TEXT_VOCAB_H
/* The model's vocabulary: token <-> id. */

#include "base/status.h"
#include "loader/json.h"
#include "text/strmap.h"

/* Ids index tables, so they are bounded; the largest vocabularies in use have 262144 entries. */
enum { MOE_MAX_TOKEN_ID = (1 << 24) - 1 };

struct moe_vocab {
    struct moe_strmap map; /* value: the id */
    uint32_t *entry_of;    /* [n_ids] entry + 1 of an id, or 0 */
    size_t n_ids;          /* largest id + 1 */
};

/* `v`: an object, token -> id. Two tokens of one id are an error: the reference would decode one at random.
 */
moe_status moe_vocab_open(struct moe_vocab *out, struct moe_json_value v, moe_error *err);
void moe_vocab_close(struct moe_vocab *vocab);
bool moe_vocab_find(uint32_t *id, const struct moe_vocab *vocab, const char *token, size_t n);
/* NULL if no token has this id. */
const char *moe_vocab_token(size_t *n, const struct moe_vocab *vocab, uint32_t id);

#endif
