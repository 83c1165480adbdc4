#ifndef MOE_TESTS_FUZZ_TEXT_H
#define MOE_TESTS_FUZZ_TEXT_H
/* What holds of every tokenizer, whatever the text and the ids. */

#include "engine/moe.h"
#include "tests/fuzz/fuzz.h"

enum fuzz_strictness {
    FUZZ_MAY_REFUSE, /* a tokenizer.json may be such that a text cannot be encoded: a message says why */
    FUZZ_ENCODES,    /* text that is UTF-8 is encoded */
    FUZZ_LOSSLESS    /* and decoding gives the same text */
};

/* Encodes the text, decodes the ids at once and one by one. */
void fuzz_check_text(const moe_tokenizer *tokenizer, struct fuzz_bytes text, bool special,
                     enum fuzz_strictness strictness);
/* Decodes ids that need not exist: never an error, and the pieces are the whole. */
void fuzz_check_ids(const moe_tokenizer *tokenizer, const uint32_t *ids, size_t n, bool skip_special,
                    enum fuzz_strictness strictness);

#endif
