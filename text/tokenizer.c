/* tokenizer.json, opened; and a text on its way to ids:
 *
 *   added tokens not normalized -> normalizer -> added tokens normalized -> pre-tokenizer -> BPE ->
 * post-processor
 *
 * where each of the first three leaves pieces for the next, and an added token, once found, is out of it. */
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/characters.h"

enum {
    MAX_FILE_BYTES = 64 << 20, /* the largest in use, with 262144 tokens, have 33 MB */
    MAX_TEXT_BYTES = 1 << 30   /* positions in a word have 32 bits, and a byte may become two */
};

/* ---- opening ------------------------------------------------------------------------------------------ */

static moe_status check_version(struct moe_json_value root, moe_error *err) {
    struct moe_json_value v = moe_json_get(root, "version");
    const char *version;
    if (!moe_json_has(root, "version")) return MOE_OK;
    MOE_TRY(moe_json_string(&version, v, err));
    if (strcmp(version, "1.0") == 0) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\", expected \"1.0\"", v.doc->file, v.path, version);
}

/* Padding to the longest of a batch does nothing to a text by itself; any other changes its ids. */
static moe_status check_padding(struct moe_json_value v, moe_error *err) {
    struct moe_json_value strategy = moe_json_get(v, "strategy"),
                          multiple = moe_json_get(v, "pad_to_multiple_of");
    int64_t n = 0;
    const char *name = "";
    if (!v.node) return MOE_OK;
    moe_json_string(&name, strategy, NULL); /* {"Fixed": n} has none */
    if (multiple.node) MOE_TRY(moe_json_int(&n, multiple, 0, UINT32_MAX, err));
    if (strcmp(name, "BatchLongest") == 0 && n <= 1) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: only null, or BatchLongest without pad_to_multiple_of",
                    v.doc->file, v.path);
}

static moe_status read_truncation(struct moe_tokenizer *t, struct moe_json_value v, moe_error *err) {
    t->truncates = v.node != NULL;
    return v.node ? moe_json_natural(&t->max_length, moe_json_get(v, "max_length"), err) : MOE_OK;
}

moe_status moe_tokenizer_read(struct moe_tokenizer *out, const struct moe_json *doc, moe_error *err) {
    struct moe_json_value root = moe_json_root(doc);
    if (!moe_json_is_object(root)) return MOE_FAIL(err, MOE_E_FORMAT, "%s: expected an object", doc->file);
    if (!(out->file = moe_text_copy(doc->file, strlen(doc->file))))
        return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", doc->file);
    MOE_TRY(check_version(root, err));
    MOE_TRY(check_padding(moe_json_get(root, "padding"), err));
    MOE_TRY(read_truncation(out, moe_json_get(root, "truncation"), err));
    MOE_TRY(moe_normalizer_open(&out->normalizer, moe_json_get(root, "normalizer"), err));
    MOE_TRY(moe_pretokenizer_open(&out->pretokenizer, moe_json_get(root, "pre_tokenizer"), err));
    MOE_TRY(moe_postprocessor_open(&out->post, moe_json_get(root, "post_processor"), err));
    MOE_TRY(moe_decoder_chain_open(&out->decoder, moe_json_get(root, "decoder"), err));
    MOE_TRY(moe_bpe_open(&out->bpe, moe_json_get(root, "model"), err));
    return moe_added_tokens_open(&out->added, moe_json_get(root, "added_tokens"), &out->bpe.vocab,
                                 &out->normalizer, err);
}

moe_status moe_tokenizer_open(moe_tokenizer **out, const char *dir, moe_error *err) {
    static const char name[] = "/tokenizer.json";
    struct moe_json doc = {0};
    *out = NULL;
    moe_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    char *file = malloc(strlen(dir) + sizeof name);
    moe_status status = MOE_OK;
    if (!tokenizer || !file) {
        status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", dir);
    } else {
        memcpy(stpcpy(file, dir), name, sizeof name);
        status = moe_json_open(&doc, file, MAX_FILE_BYTES, err);
        if (status == MOE_OK) {
            status = moe_tokenizer_read(tokenizer, &doc, err);
            moe_json_close(&doc);
        }
    }
    free(file);
    if (status == MOE_OK)
        *out = tokenizer;
    else
        moe_tokenizer_close(tokenizer);
    return status;
}

void moe_tokenizer_close(moe_tokenizer *tokenizer) {
    if (!tokenizer) return;
    moe_bpe_close(&tokenizer->bpe);
    moe_normalizer_close(&tokenizer->normalizer);
    moe_added_tokens_close(&tokenizer->added);
    moe_pretokenizer_close(&tokenizer->pretokenizer);
    moe_postprocessor_close(&tokenizer->post);
    moe_decoder_chain_close(&tokenizer->decoder);
    free(tokenizer->file);
    free(tokenizer);
}

size_t moe_tokenizer_size(const moe_tokenizer *tokenizer) {
    size_t n = tokenizer->bpe.vocab.n_ids, n_added = moe_added_tokens_size(&tokenizer->added);
    return n > n_added ? n : n_added;
}

size_t moe_tokenizer_count(const moe_tokenizer *tokenizer, size_t limit) {
    size_t n = 0, n_ids = moe_tokenizer_size(tokenizer);
    for (size_t id = 0; id < limit && id < n_ids; id++) {
        size_t length;
        bool skipped;
        n += moe_tokenizer_text(&length, &skipped, tokenizer, (uint32_t)id) != NULL;
    }
    return n;
}

int64_t moe_tokenizer_largest_id(const moe_tokenizer *tokenizer) {
    int64_t largest = (int64_t)moe_tokenizer_size(tokenizer) - 1;
    int64_t added = moe_postprocessor_largest_id(&tokenizer->post);
    return added > largest ? added : largest;
}

bool moe_tokenizer_is_special(const moe_tokenizer *tokenizer, uint32_t id) {
    return moe_added_tokens_special(&tokenizer->added, id);
}

const char *moe_tokenizer_text(size_t *n, bool *skipped, const struct moe_tokenizer *tokenizer, uint32_t id) {
    const char *text = moe_added_tokens_text(n, skipped, &tokenizer->added, id);
    if (text) return text;
    *skipped = false;
    return moe_vocab_token(n, &tokenizer->bpe.vocab, id);
}

/* ---- encoding ----------------------------------------------------------------------------------------- */

/* What one call uses over and over. */
struct encoding {
    const moe_tokenizer *tokenizer;
    struct moe_ids ids;
    struct moe_spans raw, normal;
    struct moe_normalized normalized;
    struct moe_pretokens pretokens;
    struct moe_bpe_scratch bpe;
};

static void free_encoding(struct encoding *e) {
    moe_ids_free(&e->ids);
    free(e->raw.list);
    free(e->normal.list);
    moe_normalized_free(&e->normalized);
    moe_pretokens_free(&e->pretokens);
    moe_bpe_scratch_free(&e->bpe);
}

static moe_status push_token(struct encoding *e, uint32_t id, moe_error *err) {
    return moe_ids_push(&e->ids, id) ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}

/* Normalized text without added tokens. */
static moe_status encode_words(struct encoding *e, const char *text, size_t n, size_t from_start,
                               moe_error *err) {
    const struct moe_pieces *pieces = &e->pretokens.pieces;
    MOE_TRY(moe_pretokenizer_apply(&e->pretokens, &e->tokenizer->pretokenizer, text, n, from_start, err));
    for (size_t i = 0; i < pieces->n; i++) {
        struct moe_piece piece = pieces->list[i];
        MOE_TRY(moe_bpe_encode(&e->ids, &e->tokenizer->bpe, &e->bpe, pieces->text.data + piece.offset,
                               piece.n, err));
    }
    return MOE_OK;
}

/* Text without those added tokens that are looked for as they are. */
static moe_status encode_segment(struct encoding *e, const char *text, size_t n, bool at_start,
                                 moe_error *err) {
    const struct moe_bytes *normal = &e->normalized.text;
    MOE_TRY(moe_normalizer_apply(&e->normalized, &e->tokenizer->normalizer, text, n, at_start, err));
    MOE_TRY(moe_added_tokens_find(&e->normal, &e->tokenizer->added, normal->data, normal->n, true, err));
    for (size_t i = 0; i < e->normal.n; i++) {
        struct moe_span span = e->normal.list[i];
        size_t n_span = span.end - span.start;
        size_t from_start = e->normalized.from_start > span.start ? e->normalized.from_start - span.start : 0;
        if (span.is_token)
            MOE_TRY(push_token(e, span.id, err));
        else
            MOE_TRY(encode_words(e, normal->data + span.start, n_span,
                                 from_start < n_span ? from_start : n_span, err));
    }
    return MOE_OK;
}

static moe_status encode_text(struct encoding *e, const char *text, size_t n, moe_error *err) {
    MOE_TRY(moe_added_tokens_find(&e->raw, &e->tokenizer->added, text, n, false, err));
    for (size_t i = 0; i < e->raw.n; i++) {
        struct moe_span span = e->raw.list[i];
        if (span.is_token)
            MOE_TRY(push_token(e, span.id, err));
        else
            MOE_TRY(encode_segment(e, text + span.start, span.end - span.start, span.start == 0, err));
    }
    return MOE_OK;
}

/* A text that the file says to cut is refused: whoever generates from it wants all of it. */
static moe_status check_length(const struct encoding *e, bool special, moe_error *err) {
    const moe_tokenizer *t = e->tokenizer;
    size_t added = special ? moe_postprocessor_added(&t->post) : 0;
    if (!t->truncates || e->ids.n + added <= t->max_length) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: truncation: would cut the text's %zu tokens to %zu", t->file,
                    e->ids.n + added, t->max_length);
}

static moe_status encode(struct encoding *e, const char *text, size_t n, bool special, moe_error *err) {
    if (n > MAX_TEXT_BYTES)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "a text of %zu bytes, expected at most %d", n, MAX_TEXT_BYTES);
    size_t valid = moe_char_valid_length(text, n);
    if (valid != n) return MOE_FAIL(err, MOE_E_ARGUMENT, "the text is not UTF-8 at byte %zu", valid);
    MOE_TRY(encode_text(e, text, n, err));
    MOE_TRY(check_length(e, special, err));
    MOE_TRY(moe_postprocessor_apply(&e->ids, &e->tokenizer->post, special, err));
    /* an empty result is an array as well */
    return moe_ids_grow(&e->ids, 1) ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}

moe_status moe_tokenizer_encode(uint32_t **ids, size_t *n_ids, const moe_tokenizer *tokenizer,
                                const char *text, size_t n_text, bool special, moe_error *err) {
    struct encoding e = {.tokenizer = tokenizer};
    *ids = NULL;
    *n_ids = 0;
    moe_status status = encode(&e, text, n_text, special, err);
    if (status == MOE_OK) {
        *ids = e.ids.data;
        *n_ids = e.ids.n;
        e.ids = (struct moe_ids){0};
    }
    free_encoding(&e);
    return status;
}
