#ifndef MOE_TEXT_TOKENIZER_H
#define MOE_TEXT_TOKENIZER_H
/* The parts of a tokenizer; how they work together is in tokenizer.c. */

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/postprocessor.h"
#include "text/pretokenizer.h"

struct moe_tokenizer {
    struct moe_bpe bpe;
    struct moe_normalizer normalizer;
    struct moe_added_tokens added;
    struct moe_pretokenizer pretokenizer;
    struct moe_postprocessor post;
    struct moe_decoder_chain decoder;
    bool truncates;
    size_t max_length; /* in ids, if it truncates */
    char *file;        /* for messages */
};

/* Reads the document. */
moe_status moe_tokenizer_read(struct moe_tokenizer *out, const struct moe_json *doc, moe_error *err);

/* The text of an id, NULL if it has none. *skipped: skip_special leaves it out. */
const char *moe_tokenizer_text(size_t *n, bool *skipped, const struct moe_tokenizer *tokenizer, uint32_t id);

#endif
