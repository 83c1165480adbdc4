#ifndef MOE_TEXT_DECODER_H
#define MOE_TEXT_DECODER_H
/* The "decoder" of tokenizer.json: from the tokens of ids to text. It works on tokens as they come; a whole
 * text is a stream that is finished at once. */

#include "loader/json.h"
#include "text/buffer.h"

struct moe_decoder_chain {
    struct moe_decoder_stage *stages; /* [n] */
    size_t n, capacity;
};

/* `v`: the component, or absent for none (tokens are joined by spaces then). */
moe_status moe_decoder_chain_open(struct moe_decoder_chain *out, struct moe_json_value v, moe_error *err);
void moe_decoder_chain_close(struct moe_decoder_chain *chain);

/* A text being decoded. */
struct moe_decoder_stream {
    const struct moe_decoder_chain *chain;
    struct moe_stage_state *states; /* [chain->n] */
    struct moe_bytes out;           /* what is decoded; the caller takes it and sets n to 0 */
};

moe_status moe_decoder_stream_open(struct moe_decoder_stream *out, const struct moe_decoder_chain *chain,
                                   moe_error *err);
void moe_decoder_stream_close(struct moe_decoder_stream *stream);
moe_status moe_decoder_stream_token(struct moe_decoder_stream *stream, const char *token, size_t n,
                                    moe_error *err);
/* Puts out what was held back, and begins anew. */
moe_status moe_decoder_stream_finish(struct moe_decoder_stream *stream, moe_error *err);

#endif
