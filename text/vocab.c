#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

static moe_status add_tokens(struct moe_vocab *vocab, struct moe_json_value v, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *token;
    while (moe_json_next(&it, v, &token, &element)) {
        int64_t id;
        size_t entry;
        bool is_new;
        MOE_TRY(moe_json_int(&id, element, 0, MOE_MAX_TOKEN_ID, err));
        if (!moe_strmap_add(&entry, &is_new, &vocab->map, token, strlen(token)))
            return MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
        vocab->map.entries[entry].value = (uint32_t)id;
        if ((size_t)id >= vocab->n_ids) vocab->n_ids = (size_t)id + 1;
    }
    return MOE_OK;
}

static moe_status index_ids(struct moe_vocab *vocab, struct moe_json_value v, moe_error *err) {
    vocab->entry_of = calloc(vocab->n_ids + 1, sizeof *vocab->entry_of);
    if (!vocab->entry_of) return MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
    for (size_t i = 0; i < vocab->map.n; i++) {
        const struct moe_strmap_entry *e = &vocab->map.entries[i];
        uint32_t *slot = &vocab->entry_of[e->value];
        if (*slot) {
            const struct moe_strmap_entry *other = &vocab->map.entries[*slot - 1];
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%.*s\" and \"%.*s\" have the same id %u",
                            v.doc->file, v.path, (int)other->length, moe_strmap_text(&vocab->map, other),
                            (int)e->length, moe_strmap_text(&vocab->map, e), (unsigned)e->value);
        }
        *slot = (uint32_t)i + 1;
    }
    return MOE_OK;
}

moe_status moe_vocab_open(struct moe_vocab *out, struct moe_json_value v, moe_error *err) {
    *out = (struct moe_vocab){0};
    if (!moe_json_is_object(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object of tokens", v.doc->file, v.path);
    moe_status status = add_tokens(out, v, err);
    if (status == MOE_OK) status = index_ids(out, v, err);
    if (status != MOE_OK) moe_vocab_close(out);
    return status;
}

void moe_vocab_close(struct moe_vocab *vocab) {
    moe_strmap_free(&vocab->map);
    free(vocab->entry_of);
    *vocab = (struct moe_vocab){0};
}

bool moe_vocab_find(uint32_t *id, const struct moe_vocab *vocab, const char *token, size_t n) {
    const struct moe_strmap_entry *e = moe_strmap_find(&vocab->map, token, n);
    if (e) *id = e->value;
    return e != NULL;
}

const char *moe_vocab_token(size_t *n, const struct moe_vocab *vocab, uint32_t id) {
    if (id >= vocab->n_ids || !vocab->entry_of[id]) return NULL;
    const struct moe_strmap_entry *e = &vocab->map.entries[vocab->entry_of[id] - 1];
    *n = e->length;
    return moe_strmap_text(&vocab->map, e);
}
