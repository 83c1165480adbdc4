#include "tests/text/tokenizers.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/loader/files.h"

moe_status tokenizers_open(moe_tokenizer **out, const char *text, moe_error *err) {
    char path[400], *json = strdup(text);
    cr_assert(json != NULL);
    for (char *c = json; *c; c++)
        if (*c == '\'') *c = '"';
    files_text("tokenizer.json", json);
    free(json);
    snprintf(path, sizeof path, "%s", files_path(""));
    return moe_tokenizer_open(out, path, err);
}

moe_tokenizer *tokenizers_good(const char *text) {
    moe_error err = {""};
    moe_tokenizer *tokenizer;
    cr_assert(tokenizers_open(&tokenizer, text, &err) == MOE_OK, "%s: %s", text, err.message);
    return tokenizer;
}

void tokenizers_refused(const char *text, moe_status want, const char *what) {
    moe_error err = {""};
    moe_tokenizer *tokenizer = (moe_tokenizer *)&err;
    moe_status status = tokenizers_open(&tokenizer, text, &err);
    cr_expect(status == want, "%s: status %d: %s", text, (int)status, err.message);
    cr_expect(tokenizer == NULL);
    cr_expect(contains(err.message, "tokenizer.json: ") && contains(err.message, what) &&
                  !strchr(err.message, '\n'),
              "%s\nexpected: %s", err.message, what);
}

void tokenizers_encode(const moe_tokenizer *tokenizer, const char *text, const char *want) {
    moe_error err = {""};
    char got[256] = "";
    uint32_t *ids;
    size_t n, n_got = 0;
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, text, strlen(text), true, &err) == MOE_OK, "%s: %s",
              text, err.message);
    for (size_t i = 0; i < n && n_got < sizeof got; i++)
        n_got += (size_t)snprintf(got + n_got, sizeof got - n_got, "%s%u", i ? " " : "", (unsigned)ids[i]);
    cr_expect_str_eq(got, want, "\"%s\": %s, expected %s", text, got, want);
    free(ids);
}

void tokenizers_decode(const moe_tokenizer *tokenizer, const uint32_t *ids, size_t n, const char *want) {
    moe_error err = {""};
    char *got;
    size_t n_got;
    cr_assert(moe_tokenizer_decode(&got, &n_got, tokenizer, ids, n, false, &err) == MOE_OK, "%s",
              err.message);
    cr_expect_str_eq(got, want, "\"%s\", expected \"%s\"", got, want);
    free(got);
}
