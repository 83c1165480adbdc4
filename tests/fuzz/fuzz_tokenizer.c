/* Any bytes as tokenizer.json: refused with a message, or a tokenizer that keeps its promises. The input is
 * the file; after a byte 0xff, which none can have, a text to encode. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz_text.h"

enum { MOST_TEXT = 512, MOST_IDS = 64 };

/* Ids that exist, and some that do not. */
static size_t make_ids(uint32_t *ids, struct fuzz_bytes from, size_t size) {
    size_t n = from.n < MOST_IDS ? from.n : MOST_IDS;
    for (size_t i = 0; i < n; i++)
        ids[i] = from.data[i] < 0xf0 ? (uint32_t)(from.data[i] % (size + 1)) : UINT32_MAX - from.data[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct fuzz_file file;
    struct fuzz_bytes rest = {data, n};
    moe_tokenizer *tokenizer = (void *)&tokenizer;
    moe_error err = fuzz_error();
    uint32_t ids[MOST_IDS];
    if (!*file.path) fuzz_file_create(&file, "tokenizer.json");
    struct fuzz_bytes document = fuzz_part(&rest), text = fuzz_part(&rest);
    fuzz_file_set(&file, document.data, document.n);
    moe_status status = moe_tokenizer_open(&tokenizer, fuzz_folder(), &err);
    if (!fuzz_opened(status, tokenizer, &err)) {
        FUZZ_CHECK(strncmp(err.message, file.path, strlen(file.path)) == 0);
        return 0;
    }
    if (text.n == 0) text = (struct fuzz_bytes){document.data, document.n / 2};
    if (text.n > MOST_TEXT) text.n = MOST_TEXT;
    fuzz_check_text(tokenizer, text, false, FUZZ_MAY_REFUSE);
    fuzz_check_text(tokenizer, text, true, FUZZ_MAY_REFUSE);
    size_t n_ids = make_ids(ids, text, moe_tokenizer_size(tokenizer));
    fuzz_check_ids(tokenizer, ids, n_ids, n_ids % 2, FUZZ_MAY_REFUSE);
    moe_tokenizer_close(tokenizer);
    return 0;
}
