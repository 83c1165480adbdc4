#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"
#include "text/characters.h"

_Static_assert((int)MOE_JSON_MAX_VALUES <= (int)MOE_MAX_TOKEN_ID,
               "every token that a file can have gets an id");

struct moe_added_token {
    char *content;
    char *
        normal; /* the normalized content if it is another, of this token or of an earlier one with this id */
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool skipped; /* what it decodes to is the content of a special token */
};

/* ---- reading ------------------------------------------------------------------------------------------ */

static moe_status fail_memory(struct moe_json_value v, moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
}

static moe_status read_token(struct moe_added_token *token, const char **content, struct moe_json_value v,
                             moe_error *err) {
    int64_t id; /* not used: see the header; it must be one all the same */
    *token = (struct moe_added_token){0};
    MOE_TRY(moe_json_int(&id, moe_json_get(v, "id"), 0, UINT32_MAX, err));
    MOE_TRY(moe_json_string(content, moe_json_get(v, "content"), err));
    MOE_TRY(moe_json_bool(&token->single_word, moe_json_get(v, "single_word"), err));
    MOE_TRY(moe_json_bool(&token->lstrip, moe_json_get(v, "lstrip"), err));
    MOE_TRY(moe_json_bool(&token->rstrip, moe_json_get(v, "rstrip"), err));
    MOE_TRY(moe_json_bool(&token->normalized, moe_json_get(v, "normalized"), err));
    return moe_json_bool(&token->special, moe_json_get(v, "special"), err);
}

/* The slot of the token of this id; a new one if there is none. */
static moe_status token_slot(struct moe_added_token **out, struct moe_added_tokens *added, uint32_t id,
                             struct moe_json_value v, moe_error *err) {
    if (id >= added->n_ids) {
        size_t n = 2 * added->n_ids > (size_t)id + 1 ? 2 * added->n_ids : (size_t)id + 1;
        uint32_t *grown = realloc(added->token_of, n * sizeof *grown);
        if (!grown) return fail_memory(v, err);
        memset(grown + added->n_ids, 0, (n - added->n_ids) * sizeof *grown);
        added->token_of = grown;
        added->n_ids = n;
    }
    if (!added->token_of[id]) {
        void *tokens = added->tokens;
        if (!moe_array_grow(&tokens, &added->capacity, added->n, 1, sizeof *added->tokens))
            return fail_memory(v, err);
        added->tokens = tokens;
        added->tokens[added->n] = (struct moe_added_token){.id = id};
        added->token_of[id] = (uint32_t)++added->n;
    }
    *out = &added->tokens[added->token_of[id] - 1];
    return MOE_OK;
}

/* What has to be known of a token's normalized form: only one that differs is kept. */
static moe_status normalize_content(char **out, const struct moe_normalizer *normalizer, const char *content,
                                    struct moe_json_value v, moe_error *err) {
    struct moe_normalized normalized = {0};
    *out = NULL;
    moe_status status = moe_normalizer_apply(&normalized, normalizer, content, strlen(content), true, err);
    size_t n = normalized.text.n;
    if (status == MOE_OK && (n != strlen(content) || memcmp(normalized.text.data, content, n) != 0)) {
        *out = moe_text_copy(normalized.text.data, n);
        if (!*out) status = fail_memory(v, err);
    }
    moe_normalized_free(&normalized);
    return status;
}

static bool same_flags(const struct moe_added_token *a, const struct moe_added_token *b) {
    return a->single_word == b->single_word && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           a->normalized == b->normalized && a->special == b->special;
}

static moe_status set_token(struct moe_added_tokens *added, struct moe_added_token token, const char *content,
                            uint32_t id, const struct moe_normalizer *normalizer, struct moe_json_value v,
                            moe_error *err) {
    struct moe_added_token *slot = NULL;
    char *copy, *normal = NULL;
    MOE_TRY(token_slot(&slot, added, id, v, err));
    if (token.normalized) MOE_TRY(normalize_content(&normal, normalizer, content, v, err));
    if (!(copy = moe_text_copy(content, strlen(content)))) {
        free(normal);
        return fail_memory(v, err);
    }
    if (normal) {
        free(slot->normal);
        slot->normal = normal;
    }
    free(slot->content);
    token.content = copy;
    token.normal = slot->normal;
    token.id = id;
    *slot = token;
    return MOE_OK;
}

static moe_status add_token(struct moe_added_tokens *added, size_t *next_id, const struct moe_vocab *vocab,
                            const struct moe_normalizer *normalizer, struct moe_json_value v,
                            moe_error *err) {
    struct moe_added_token token;
    const char *content;
    size_t entry;
    bool is_new;
    uint32_t id;
    MOE_TRY(read_token(&token, &content, v, err));
    if (!*content) return MOE_OK; /* the reference passes over it */
    if (!moe_strmap_add(&entry, &is_new, &added->contents, content, strlen(content)))
        return fail_memory(v, err);
    if (!is_new) {
        id = added->contents.entries[entry].value;
        const struct moe_added_token *there = &added->tokens[added->token_of[id] - 1];
        if (strcmp(there->content, content) == 0 && same_flags(there, &token)) return MOE_OK;
    } else if (!moe_vocab_find(&id, vocab, content, strlen(content))) {
        id = (uint32_t)(*next_id)++;
    }
    added->contents.entries[entry].value = id;
    MOE_TRY(set_token(added, token, content, id, normalizer, v, err));
    if (token.special && !moe_strmap_add(&entry, &is_new, &added->specials, content, strlen(content)))
        return fail_memory(v, err);
    return MOE_OK;
}

static const char *decoded(const struct moe_added_token *token) {
    return token->normal ? token->normal : token->content;
}

/* The tries, and what skip_special leaves out. */
static moe_status index_tokens(struct moe_added_tokens *added, struct moe_json_value v, moe_error *err) {
    for (size_t i = 0; i < added->n; i++) {
        struct moe_added_token *token = &added->tokens[i];
        const char *pattern = token->normalized ? decoded(token) : token->content;
        bool is_new;
        token->skipped = moe_strmap_find(&added->specials, decoded(token), strlen(decoded(token))) != NULL;
        if (!*pattern)
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is empty once it is normalized",
                            v.doc->file, v.path, token->content);
        if (!moe_trie_add(token->normalized ? &added->normalized : &added->raw, &is_new, pattern,
                          strlen(pattern), (uint32_t)i))
            return fail_memory(v, err);
        if (!is_new)
            return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                            "%s: %s: \"%s\" stands for two tokens (the reference takes either)", v.doc->file,
                            v.path, pattern);
    }
    return MOE_OK;
}

moe_status moe_added_tokens_open(struct moe_added_tokens *out, struct moe_json_value v,
                                 const struct moe_vocab *vocab, const struct moe_normalizer *normalizer,
                                 moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key;
    size_t next_id = vocab->map.n;
    moe_status status = MOE_OK;
    *out = (struct moe_added_tokens){0};
    if (!v.node) return MOE_OK;
    if (!moe_json_is_array(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a list", v.doc->file, v.path);
    while (status == MOE_OK && moe_json_next(&it, v, &key, &element))
        status = add_token(out, &next_id, vocab, normalizer, element, err);
    if (status == MOE_OK) status = index_tokens(out, v, err);
    if (status != MOE_OK) moe_added_tokens_close(out);
    return status;
}

void moe_added_tokens_close(struct moe_added_tokens *added) {
    for (size_t i = 0; i < added->n; i++) {
        free(added->tokens[i].content);
        free(added->tokens[i].normal);
    }
    free(added->tokens);
    free(added->token_of);
    moe_strmap_free(&added->contents);
    moe_strmap_free(&added->specials);
    moe_trie_free(&added->raw);
    moe_trie_free(&added->normalized);
    *added = (struct moe_added_tokens){0};
}

/* ---- by id -------------------------------------------------------------------------------------------- */

static const struct moe_added_token *token_of(const struct moe_added_tokens *added, uint32_t id) {
    return id < added->n_ids && added->token_of[id] ? &added->tokens[added->token_of[id] - 1] : NULL;
}

const char *moe_added_tokens_text(size_t *n, bool *skipped, const struct moe_added_tokens *added,
                                  uint32_t id) {
    const struct moe_added_token *token = token_of(added, id);
    if (!token) return NULL;
    *skipped = token->skipped;
    *n = strlen(decoded(token));
    return decoded(token);
}

bool moe_added_tokens_special(const struct moe_added_tokens *added, uint32_t id) {
    const struct moe_added_token *token = token_of(added, id);
    return token && token->special;
}

size_t moe_added_tokens_size(const struct moe_added_tokens *added) {
    size_t n = 0;
    for (size_t i = 0; i < added->n; i++)
        if (added->tokens[i].id >= n) n = (size_t)added->tokens[i].id + 1;
    return n;
}

/* ---- finding ------------------------------------------------------------------------------------------ */

static moe_status add_span(struct moe_spans *spans, struct moe_span span, moe_error *err) {
    void *list = spans->list;
    if (!moe_array_grow(&list, &spans->capacity, spans->n, 1, sizeof span))
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    spans->list = list;
    spans->list[spans->n++] = span;
    return MOE_OK;
}

static bool is_word_before(const char *text, const char *at) {
    uint32_t c;
    if (at == text) return false;
    moe_char_decode(&c, moe_char_before(text, at));
    return moe_unicode_is_word(c);
}

static bool is_word_after(const char *at, const char *end) {
    uint32_t c;
    if (at == end) return false;
    moe_char_decode(&c, at);
    return moe_unicode_is_word(c);
}

static size_t skip_space_before(const char *text, size_t at) {
    while (at > 0) {
        const char *before = moe_char_before(text, text + at);
        uint32_t c;
        moe_char_decode(&c, before);
        if (!moe_unicode_is_space(c)) break;
        at = (size_t)(before - text);
    }
    return at;
}

static size_t skip_space_after(const char *text, size_t n, size_t at) {
    while (at < n) {
        uint32_t c;
        size_t length = moe_char_decode(&c, text + at);
        if (!moe_unicode_is_space(c)) break;
        at += length;
    }
    return at;
}

/* One match. A token may take whitespace that a match before it took already, or lie in it: the reference
 * then goes back, and so does this. */
static moe_status take_match(struct moe_spans *out, size_t *done, const struct moe_added_token *token,
                             const char *text, size_t n, size_t start, size_t end, moe_error *err) {
    if (token->single_word && (is_word_before(text, text + start) || is_word_after(text + end, text + n)))
        return MOE_OK;
    if (token->lstrip) {
        start = skip_space_before(text, start);
        if (start < *done) start = *done;
    }
    if (token->rstrip) end = skip_space_after(text, n, end);
    if (start > end)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                        "the added token \"%s\" lies in whitespace that another one takes", token->content);
    if (*done < start) MOE_TRY(add_span(out, (struct moe_span){.start = *done, .end = start}, err));
    *done = end;
    if (start == end) return MOE_OK; /* nothing is left of it */
    return add_span(out, (struct moe_span){start, end, true, token->id}, err);
}

moe_status moe_added_tokens_find(struct moe_spans *out, const struct moe_added_tokens *added,
                                 const char *text, size_t n, bool normalized, moe_error *err) {
    const struct moe_trie *trie = normalized ? &added->normalized : &added->raw;
    size_t done = 0;
    out->n = 0;
    for (size_t i = 0; trie->n && i < n;) {
        uint32_t token = 0;
        size_t length = 0;
        if (trie->first[(unsigned char)text[i]]) length = moe_trie_longest(&token, trie, text + i, n - i);
        if (length) MOE_TRY(take_match(out, &done, &added->tokens[token], text, n, i, i + length, err));
        i += length ? length : 1;
    }
    if (done != n) MOE_TRY(add_span(out, (struct moe_span){.start = done, .end = n}, err));
    return MOE_OK;
}
