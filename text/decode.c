/* Ids back to text, at once or as they come. */
#include <stdlib.h>

#include "text/tokenizer.h"

struct moe_decoder {
    const moe_tokenizer *tokenizer;
    bool skip_special;
    struct moe_decoder_stream stream;
};

static moe_status decode_id(struct moe_decoder_stream *stream, const moe_tokenizer *tokenizer, uint32_t id,
                            bool skip_special, moe_error *err) {
    size_t n;
    bool skipped;
    const char *text = moe_tokenizer_text(&n, &skipped, tokenizer, id);
    if (!text || (skipped && skip_special)) return MOE_OK;
    return moe_decoder_stream_token(stream, text, n, err);
}

static moe_status decode_all(struct moe_decoder_stream *stream, const moe_tokenizer *tokenizer,
                             const uint32_t *ids, size_t n_ids, bool skip_special, moe_error *err) {
    for (size_t i = 0; i < n_ids; i++) MOE_TRY(decode_id(stream, tokenizer, ids[i], skip_special, err));
    MOE_TRY(moe_decoder_stream_finish(stream, err));
    if (!moe_bytes_grow(&stream->out, 1)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    stream->out.data[stream->out.n] = '\0';
    return MOE_OK;
}

moe_status moe_tokenizer_decode(char **text, size_t *n_text, const moe_tokenizer *tokenizer,
                                const uint32_t *ids, size_t n_ids, bool skip_special, moe_error *err) {
    struct moe_decoder_stream stream;
    *text = NULL;
    *n_text = 0;
    MOE_TRY(moe_decoder_stream_open(&stream, &tokenizer->decoder, err));
    moe_status status = decode_all(&stream, tokenizer, ids, n_ids, skip_special, err);
    if (status == MOE_OK) {
        *text = stream.out.data;
        *n_text = stream.out.n;
        stream.out = (struct moe_bytes){0};
    }
    moe_decoder_stream_close(&stream);
    return status;
}

moe_status moe_decoder_open(moe_decoder **out, const moe_tokenizer *tokenizer, bool skip_special,
                            moe_error *err) {
    moe_decoder *decoder = calloc(1, sizeof *decoder);
    *out = NULL;
    if (!decoder) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    decoder->tokenizer = tokenizer;
    decoder->skip_special = skip_special;
    moe_status status = moe_decoder_stream_open(&decoder->stream, &tokenizer->decoder, err);
    if (status == MOE_OK)
        *out = decoder;
    else
        free(decoder);
    return status;
}

void moe_decoder_close(moe_decoder *decoder) {
    if (!decoder) return;
    moe_decoder_stream_close(&decoder->stream);
    free(decoder);
}

static void give(const char **piece, size_t *n_piece, const moe_decoder *decoder) {
    *piece = decoder->stream.out.n ? decoder->stream.out.data : "";
    *n_piece = decoder->stream.out.n;
}

moe_status moe_decoder_next(const char **piece, size_t *n_piece, moe_decoder *decoder, uint32_t id,
                            moe_error *err) {
    *piece = NULL;
    *n_piece = 0;
    decoder->stream.out.n = 0;
    MOE_TRY(decode_id(&decoder->stream, decoder->tokenizer, id, decoder->skip_special, err));
    give(piece, n_piece, decoder);
    return MOE_OK;
}

moe_status moe_decoder_finish(const char **piece, size_t *n_piece, moe_decoder *decoder, moe_error *err) {
    *piece = NULL;
    *n_piece = 0;
    decoder->stream.out.n = 0;
    MOE_TRY(moe_decoder_stream_finish(&decoder->stream, err));
    give(piece, n_piece, decoder);
    return MOE_OK;
}
