/* Any bytes as a prompt, and any ids, for real tokenizers. The input: which tokenizer and what (1 byte each),
 * then the text, or ids of 16 bits. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz_text.h"

static const struct {
    const char *path;
    enum fuzz_strictness strictness; /* LOSSLESS: bytes, without a normalizer, no token that takes spaces */
} files[] = {{"models/storyteller", FUZZ_ENCODES}, /* NFC */
             {"tests/fixtures/tokenizers/bare", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/behaviors", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/deepseek_v2", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/deepseek_v3", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/ernie", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/glm4", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/gpt_oss", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/kimi", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/llama3", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/mistral", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/mixtral", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/olmo2", FUZZ_LOSSLESS},
             {"tests/fixtures/tokenizers/olmoe", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/phimoe", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/possessive", FUZZ_ENCODES},
             {"tests/fixtures/tokenizers/qwen2", FUZZ_ENCODES}};

enum { N_FILES = sizeof files / sizeof *files, MOST_IDS = 256, SPECIAL = 1, SKIP = 2, IDS = 4 };

static moe_tokenizer *tokenizers[N_FILES];

static void close_all(void) {
    for (size_t i = 0; i < N_FILES; i++) moe_tokenizer_close(tokenizers[i]);
}

static void open_all(void) {
    moe_error err = fuzz_error();
    for (size_t i = 0; i < N_FILES; i++) {
        char path[512];
        int n = snprintf(path, sizeof path, MOE_SOURCE_DIR "/%s", files[i].path);
        FUZZ_CHECK(n > 0 && (size_t)n < sizeof path);
        moe_status status = moe_tokenizer_open(&tokenizers[i], path, &err);
        FUZZ_CHECK(fuzz_opened(status, tokenizers[i], &err));
    }
    atexit(close_all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct fuzz_bytes rest = {data, n};
    uint8_t which, flags;
    uint32_t ids[MOST_IDS];
    size_t n_ids = 0;
    if (!*tokenizers) open_all();
    fuzz_take(&which, 1, &rest);
    fuzz_take(&flags, 1, &rest);
    const moe_tokenizer *tokenizer = tokenizers[which % N_FILES];
    enum fuzz_strictness strictness = files[which % N_FILES].strictness;
    if (flags & IDS) {
        for (; rest.n > 0 && n_ids < MOST_IDS; n_ids++) {
            uint16_t id;
            fuzz_take(&id, sizeof id, &rest);
            ids[n_ids] = id;
        }
        fuzz_check_ids(tokenizer, ids, n_ids, flags & SKIP, strictness);
    } else {
        fuzz_check_text(tokenizer, rest, flags & SPECIAL, strictness);
    }
    return 0;
}
