/* Reading the model: its options, the table of merges, the tokens of one character. */
#include "text/bpe_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/characters.h"

#define FAIL_MEMORY(v, err) MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", (v).doc->file, (v).path)

/* ---- merges ------------------------------------------------------------------------------------------- */

static moe_status take_merge_table(struct moe_bpe *bpe, size_t n, struct moe_json_value v, moe_error *err) {
    bpe->n_slots = 64;
    while (bpe->n_slots < 2 * n) bpe->n_slots *= 2;
    bpe->merges = malloc(bpe->n_slots * sizeof *bpe->merges);
    if (!bpe->merges) return FAIL_MEMORY(v, err);
    for (size_t i = 0; i < bpe->n_slots; i++) bpe->merges[i].key = MOE_NO_MERGE;
    return MOE_OK;
}

static moe_status fail_missing(struct moe_json_value v, const char *token, size_t n, moe_error *err) {
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%.*s\" is not in the vocabulary", v.doc->file, v.path,
                    (int)(n > 100 ? 100 : n), token);
}

/* Of two merges of one pair the later one counts, as in the reference. */
static moe_status add_merge(struct moe_bpe *bpe, struct moe_bytes *joined, const char *left, size_t n_left,
                            const char *right, size_t n_right, uint32_t rank, struct moe_json_value v,
                            moe_error *err) {
    uint32_t left_id, right_id, id;
    joined->n = 0;
    if (!moe_vocab_find(&left_id, &bpe->vocab, left, n_left)) return fail_missing(v, left, n_left, err);
    if (!moe_vocab_find(&right_id, &bpe->vocab, right, n_right)) return fail_missing(v, right, n_right, err);
    if (!moe_bytes_append(joined, left, n_left) || !moe_bytes_append(joined, right, n_right))
        return FAIL_MEMORY(v, err);
    if (!moe_vocab_find(&id, &bpe->vocab, joined->data, joined->n))
        return fail_missing(v, joined->data, joined->n, err);
    struct moe_merge *slot = moe_merge_slot(bpe, left_id, right_id);
    *slot = (struct moe_merge){.key = moe_merge_key(left_id, right_id), .rank = rank, .id = id};
    if (n_left && n_right) {
        uint32_t before, after;
        moe_char_decode(&before, moe_char_before(left, left + n_left));
        moe_char_decode(&after, right);
        bpe->joins[moe_join_bit(before, after) / 64] |= UINT64_C(1) << moe_join_bit(before, after) % 64;
    }
    return MOE_OK;
}

/* "left right", with exactly one space. *is_comment: a line of merges.txt that says its version. */
static moe_status read_line(struct moe_json_value v, const char **left, size_t *n_left, const char **right,
                            bool *is_comment, moe_error *err) {
    MOE_TRY(moe_json_string(left, v, err));
    *is_comment = strncmp(*left, "#version", 8) == 0;
    if (*is_comment) return MOE_OK;
    const char *space = strchr(*left, ' ');
    if (!space || strchr(space + 1, ' '))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected two tokens and one space", v.doc->file, v.path);
    *n_left = (size_t)(space - *left);
    *right = space + 1;
    return MOE_OK;
}

static moe_status read_pair(struct moe_json_value v, const char **left, size_t *n_left, const char **right,
                            moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value first, second, third;
    const char *key;
    if (!moe_json_is_array(v) || !moe_json_next(&it, v, &key, &first) ||
        !moe_json_next(&it, v, &key, &second) || moe_json_next(&it, v, &key, &third))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a list of two tokens", v.doc->file, v.path);
    MOE_TRY(moe_json_string(left, first, err));
    *n_left = strlen(*left);
    return moe_json_string(right, second, err);
}

static moe_status read_merges(struct moe_bpe *bpe, struct moe_json_value v, struct moe_bytes *joined,
                              moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key;
    bool lines = false, comment = false;
    uint32_t rank = 0;
    while (moe_json_next(&it, v, &key, &element)) {
        const char *left, *right = NULL;
        size_t n_left = 0;
        if (it.index == 1) lines = moe_json_is_string(element); /* one form for all of them */
        if (lines)
            MOE_TRY(read_line(element, &left, &n_left, &right, &comment, err));
        else
            MOE_TRY(read_pair(element, &left, &n_left, &right, err));
        if (comment) continue;
        MOE_TRY(add_merge(bpe, joined, left, n_left, right, strlen(right), rank++, element, err));
    }
    return MOE_OK;
}

/* ---- tokens of one character -------------------------------------------------------------------------- */

static moe_status index_characters(struct moe_bpe *bpe, struct moe_json_value v, moe_error *err) {
    const struct moe_strmap *map = &bpe->vocab.map;
    size_t n = 0;
    for (size_t i = 0; i < map->n; i++)
        if (map->entries[i].length &&
            moe_char_length(*moe_strmap_text(map, &map->entries[i])) == map->entries[i].length)
            n++;
    bpe->n_character_slots = 64;
    while (bpe->n_character_slots < 2 * n) bpe->n_character_slots *= 2;
    bpe->characters = calloc(bpe->n_character_slots, sizeof *bpe->characters);
    if (!bpe->characters) return FAIL_MEMORY(v, err);
    for (size_t i = 0; i < map->n; i++) {
        const struct moe_strmap_entry *e = &map->entries[i];
        uint32_t c;
        if (!e->length || moe_char_length(*moe_strmap_text(map, e)) != e->length) continue;
        moe_char_decode(&c, moe_strmap_text(map, e));
        if (c < sizeof bpe->low / sizeof *bpe->low)
            bpe->low[c] = e->value + 1;
        else
            *moe_character_slot(bpe, c) = (struct moe_character){.code_point = c, .id = e->value + 1};
    }
    return MOE_OK;
}

static void index_bytes(struct moe_bpe *bpe) {
    for (unsigned b = 0; b < 256; b++) {
        char token[8];
        uint32_t id;
        int n = snprintf(token, sizeof token, "<0x%02X>", b);
        bpe->byte_ids[b] = moe_vocab_find(&id, &bpe->vocab, token, (size_t)n) ? id + 1 : 0;
    }
}

/* ---- options ------------------------------------------------------------------------------------------ */

/* Absent and null mean false. */
static moe_status read_flag(bool *out, struct moe_json_value model, const char *key, moe_error *err) {
    struct moe_json_value v = moe_json_get(model, key);
    *out = false;
    return v.node ? moe_json_bool(out, v, err) : MOE_OK;
}

/* What would change the ids and is not implemented. */
static moe_status refuse_text(struct moe_json_value model, const char *key, moe_error *err) {
    struct moe_json_value v = moe_json_get(model, key);
    const char *text;
    if (!v.node) return MOE_OK;
    MOE_TRY(moe_json_string(&text, v, err));
    if (*text)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not implemented", v.doc->file, v.path,
                        text);
    return MOE_OK;
}

static moe_status refuse_dropout(struct moe_json_value model, moe_error *err) {
    struct moe_json_value v = moe_json_get(model, "dropout");
    double dropout = 0;
    if (v.node) MOE_TRY(moe_json_number(&dropout, v, err));
    if (dropout == 0) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: %g makes encoding random", v.doc->file, v.path, dropout);
}

static moe_status read_options(struct moe_bpe *bpe, struct moe_json_value v, moe_error *err) {
    struct moe_json_value unk = moe_json_get(v, "unk_token");
    const char *token;
    MOE_TRY(refuse_dropout(v, err));
    MOE_TRY(refuse_text(v, "continuing_subword_prefix", err));
    MOE_TRY(refuse_text(v, "end_of_word_suffix", err));
    MOE_TRY(read_flag(&bpe->fuse_unk, v, "fuse_unk", err));
    MOE_TRY(read_flag(&bpe->byte_fallback, v, "byte_fallback", err));
    MOE_TRY(read_flag(&bpe->ignore_merges, v, "ignore_merges", err));
    if (!unk.node) return MOE_OK;
    MOE_TRY(moe_json_string(&token, unk, err));
    bpe->unk_token = moe_text_copy(token, strlen(token));
    if (!bpe->unk_token) return FAIL_MEMORY(unk, err);
    uint32_t id;
    if (moe_vocab_find(&id, &bpe->vocab, token, strlen(token))) bpe->unk = id + 1;
    return MOE_OK;
}

/* A model of another type is refused; without a type, older files mean this one if they have merges. */
static moe_status check_type(struct moe_json_value v, moe_error *err) {
    struct moe_json_value type = moe_json_get(v, "type");
    const char *name;
    if (!moe_json_is_object(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object", v.doc->file, v.path);
    if (!type.node) return MOE_OK;
    MOE_TRY(moe_json_string(&name, type, err));
    if (strcmp(name, "BPE") == 0) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not implemented, only BPE is", v.doc->file,
                    type.path, name);
}

static moe_status open_model(struct moe_bpe *bpe, struct moe_json_value v, moe_error *err) {
    struct moe_json_value merges = moe_json_get(v, "merges");
    struct moe_bytes joined = {0};
    MOE_TRY(check_type(v, err));
    if (!(bpe->file = moe_text_copy(v.doc->file, strlen(v.doc->file)))) return FAIL_MEMORY(v, err);
    MOE_TRY(moe_vocab_open(&bpe->vocab, moe_json_get(v, "vocab"), err));
    MOE_TRY(read_options(bpe, v, err));
    if (!moe_json_is_array(merges))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a list", v.doc->file, merges.path);
    MOE_TRY(take_merge_table(bpe, moe_json_size(merges), merges, err));
    moe_status status = read_merges(bpe, merges, &joined, err);
    moe_bytes_free(&joined);
    MOE_TRY(status);
    index_bytes(bpe);
    return index_characters(bpe, v, err);
}

moe_status moe_bpe_open(struct moe_bpe *out, struct moe_json_value v, moe_error *err) {
    *out = (struct moe_bpe){0};
    moe_status status = open_model(out, v, err);
    if (status != MOE_OK) moe_bpe_close(out);
    return status;
}

void moe_bpe_close(struct moe_bpe *bpe) {
    moe_vocab_close(&bpe->vocab);
    free(bpe->merges);
    free(bpe->characters);
    free(bpe->unk_token);
    free(bpe->file);
    *bpe = (struct moe_bpe){0};
}
