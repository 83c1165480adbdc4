#include "tests/fuzz/fuzz_text.h"

#include <stdlib.h>
#include <string.h>

/* RFC 3629, by its table and not by the library's own reader. */
static bool is_utf8(struct fuzz_bytes s) {
    for (size_t i = 0; i < s.n;) {
        uint8_t c = s.data[i++], low = 0x80, high = 0xbf;
        int more = c < 0x80                ? 0
                   : c >= 0xc2 && c < 0xe0 ? 1
                   : c >= 0xe0 && c < 0xf0 ? 2
                   : c >= 0xf0 && c < 0xf5 ? 3
                                           : -1;
        if (more < 0) return false;
        if (c == 0xe0) low = 0xa0;
        if (c == 0xed) high = 0x9f;
        if (c == 0xf0) low = 0x90;
        if (c == 0xf4) high = 0x8f;
        for (; more > 0; more--, low = 0x80, high = 0xbf)
            if (i == s.n || s.data[i] < low || s.data[i++] > high) return false;
    }
    return true;
}

/* The pieces of a stream, one after the other, are the text [n]. */
static void check_stream(const moe_tokenizer *tokenizer, const uint32_t *ids, size_t n_ids, bool skip_special,
                         const char *text, size_t n) {
    moe_decoder *decoder = (void *)&decoder;
    moe_error err = fuzz_error();
    const char *piece;
    size_t done = 0, n_piece;
    moe_status status = moe_decoder_open(&decoder, tokenizer, skip_special, &err);
    FUZZ_CHECK(fuzz_opened(status, decoder, &err));
    for (size_t i = 0; i <= n_ids; i++) {
        status = i < n_ids ? moe_decoder_next(&piece, &n_piece, decoder, ids[i], &err)
                           : moe_decoder_finish(&piece, &n_piece, decoder, &err);
        FUZZ_CHECK(status == MOE_OK);
        FUZZ_CHECK(n_piece <= n - done && memcmp(piece, text + done, n_piece) == 0);
        done += n_piece;
    }
    FUZZ_CHECK(done == n);
    moe_decoder_close(decoder);
}

/* The text of the ids, which the caller frees, or NULL. */
static char *decode(size_t *n, const moe_tokenizer *tokenizer, const uint32_t *ids, size_t n_ids,
                    bool skip_special, enum fuzz_strictness strictness) {
    moe_error err = fuzz_error();
    char *text = (void *)&text;
    moe_status status = moe_tokenizer_decode(&text, n, tokenizer, ids, n_ids, skip_special, &err);
    if (!fuzz_opened(status, text, &err)) {
        FUZZ_CHECK(strictness == FUZZ_MAY_REFUSE && *n == 0);
        return NULL;
    }
    FUZZ_CHECK(text[*n] == '\0');
    check_stream(tokenizer, ids, n_ids, skip_special, text, *n);
    return text;
}

void fuzz_check_ids(const moe_tokenizer *tokenizer, const uint32_t *ids, size_t n, bool skip_special,
                    enum fuzz_strictness strictness) {
    size_t n_text;
    free(decode(&n_text, tokenizer, ids, n, skip_special, strictness));
}

void fuzz_check_text(const moe_tokenizer *tokenizer, struct fuzz_bytes text, bool special,
                     enum fuzz_strictness strictness) {
    moe_error err = fuzz_error();
    uint32_t *ids = (void *)&ids;
    size_t n_ids = 1, n_back = 0;
    const char *bytes = (const char *)text.data;
    moe_status status = moe_tokenizer_encode(&ids, &n_ids, tokenizer, bytes, text.n, special, &err);
    bool valid = is_utf8(text);
    if (!fuzz_opened(status, ids, &err)) {
        FUZZ_CHECK(n_ids == 0);
        FUZZ_CHECK(valid ? strictness == FUZZ_MAY_REFUSE : status == MOE_E_ARGUMENT);
        return;
    }
    FUZZ_CHECK(valid);
    /* a template of a hostile file may have ids that no token has, as in the reference: a session refuses
     * them */
    for (size_t i = 0; i < n_ids && !(special && strictness == FUZZ_MAY_REFUSE); i++)
        FUZZ_CHECK(ids[i] < moe_tokenizer_size(tokenizer));
    char *back = decode(&n_back, tokenizer, ids, n_ids, false, strictness);
    if (strictness == FUZZ_LOSSLESS && !special)
        FUZZ_CHECK(n_back == text.n && (n_back == 0 || memcmp(back, text.data, n_back) == 0));
    free(back);
    if (special) fuzz_check_ids(tokenizer, ids, n_ids, true, strictness);
    free(ids);
}
