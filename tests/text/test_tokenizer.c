/* The fixtures: a tokenizer per family, and what the reference made of texts and ids with it
 * (scripts/make_tokenizer_vectors.py). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/moe.h"
#include "loader/json.h"

enum { MAX_FAMILIES = 64 };

static const char fixtures[] = MOE_FIXTURES "/tokenizers";

static size_t list_families(char names[MAX_FAMILIES][64]) {
    DIR *dir = opendir(fixtures);
    size_t n = 0;
    cr_assert(dir != NULL);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && n < MAX_FAMILIES) snprintf(names[n++], 64, "%.63s", e->d_name);
    closedir(dir);
    return n;
}

static moe_tokenizer *open_family(const char *name) {
    char path[512];
    moe_error err;
    moe_tokenizer *tokenizer;
    snprintf(path, sizeof path, "%s/%s", fixtures, name);
    moe_status status = moe_tokenizer_open(&tokenizer, path, &err);
    cr_assert(status == MOE_OK, "%s", err.message);
    return tokenizer;
}

static struct moe_json open_vectors(const char *name) {
    char path[512];
    moe_error err;
    struct moe_json doc;
    snprintf(path, sizeof path, "%s/%s/vectors.json", fixtures, name);
    moe_status status = moe_json_open(&doc, path, 1 << 20, &err);
    cr_assert(status == MOE_OK, "%s", err.message);
    return doc;
}

static size_t read_ids(uint32_t *ids, size_t max, struct moe_json_value list) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key;
    size_t n = 0;
    while (moe_json_next(&it, list, &key, &element)) {
        int64_t id;
        cr_assert(n < max && moe_json_int(&id, element, 0, UINT32_MAX, NULL) == MOE_OK);
        ids[n++] = (uint32_t)id;
    }
    return n;
}

static const char *read_text(struct moe_json_value v) {
    const char *text;
    cr_assert(moe_json_string(&text, v, NULL) == MOE_OK);
    return text;
}

static void check_encode(const char *name, const moe_tokenizer *tokenizer, struct moe_json_value row,
                         const char *key, bool special) {
    static uint32_t want[4096];
    const char *text = read_text(moe_json_get(row, "text"));
    size_t n_want = read_ids(want, 4096, moe_json_get(row, key)), n;
    moe_error err;
    uint32_t *ids;
    moe_status status = moe_tokenizer_encode(&ids, &n, tokenizer, text, strlen(text), special, &err);
    cr_assert(status == MOE_OK, "%s: \"%s\": %s", name, text, err.message);
    cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s: \"%s\" (%s): other ids", name,
              text, key);
    free(ids);
}

/* All at once, and id by id. */
static void check_decode(const char *name, const moe_tokenizer *tokenizer, struct moe_json_value row,
                         const char *key, bool skip) {
    static uint32_t ids[4096];
    size_t n_ids = read_ids(ids, 4096, moe_json_get(row, "ids")), n, done = 0, n_piece;
    const char *want = read_text(moe_json_get(row, key)), *piece;
    char *text;
    moe_decoder *decoder;
    cr_assert(moe_tokenizer_decode(&text, &n, tokenizer, ids, n_ids, skip, NULL) == MOE_OK);
    cr_assert(text[n] == '\0');
    cr_expect(n == strlen(want) && memcmp(text, want, n) == 0, "%s: \"%s\" decoded to \"%s\"", name, want,
              text);
    cr_assert(moe_decoder_open(&decoder, tokenizer, skip, NULL) == MOE_OK);
    for (int round = 0; round < 2; round++) { /* a finished decoder begins anew */
        done = 0;
        for (size_t i = 0; i <= n_ids; i++) {
            if (i < n_ids)
                cr_assert(moe_decoder_next(&piece, &n_piece, decoder, ids[i], NULL) == MOE_OK);
            else
                cr_assert(moe_decoder_finish(&piece, &n_piece, decoder, NULL) == MOE_OK);
            cr_assert(n_piece <= n - done && memcmp(text + done, piece, n_piece) == 0,
                      "%s: \"%s\": piece %zu", name, want, i);
            done += n_piece;
        }
        cr_expect(done == n, "%s: \"%s\": pieces end early", name, want);
    }
    moe_decoder_close(decoder);
    free(text);
}

Test(tokenizer, vectors) {
    char names[MAX_FAMILIES][64];
    size_t n = list_families(names);
    cr_assert(n >= 18, "%zu fixtures", n);
    for (size_t i = 0; i < n; i++) {
        moe_tokenizer *tokenizer = open_family(names[i]);
        struct moe_json doc = open_vectors(names[i]);
        struct moe_json_iterator it = {0};
        struct moe_json_value row, root = moe_json_root(&doc);
        const char *key;
        size_t rows = 0;
        for (; moe_json_next(&it, moe_json_get(root, "encode"), &key, &row); rows++) {
            check_encode(names[i], tokenizer, row, "ids", false);
            check_encode(names[i], tokenizer, row, "special", true);
        }
        it = (struct moe_json_iterator){0};
        for (; moe_json_next(&it, moe_json_get(root, "decode"), &key, &row); rows++) {
            check_decode(names[i], tokenizer, row, "text", false);
            check_decode(names[i], tokenizer, row, "skipped", true);
        }
        cr_expect(rows > 100, "%s: %zu rows", names[i], rows);
        moe_json_close(&doc);
        moe_tokenizer_close(tokenizer);
    }
}

Test(tokenizer, invalid_utf8) {
    static const struct {
        const char *text;
        size_t n, at;
    } cases[] = {{"ab\xff", 3, 2},
                 {"\xc3", 1, 0},
                 {"a\xe2\x82", 3, 1},
                 {"\xed\xa0\x80", 3, 0},
                 {"12345678\xc0\x80", 10, 8},
                 {"\xf5\x80\x80\x80", 4, 0},
                 {"\xe0\x80\x80", 3, 0},
                 {"x\x80", 2, 1}};
    moe_tokenizer *tokenizer = open_family("qwen2");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char message[80];
        moe_error err;
        uint32_t *ids = (uint32_t *)&err;
        size_t n = 7;
        snprintf(message, sizeof message, "the text is not UTF-8 at byte %zu", cases[i].at);
        cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, cases[i].text, cases[i].n, true, &err) ==
                  MOE_E_ARGUMENT);
        cr_expect_str_eq(err.message, message);
        cr_expect(ids == NULL && n == 0);
    }
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer, nothing) {
    moe_tokenizer *tokenizer = open_family("llama3");
    uint32_t *ids;
    size_t n;
    char *text;
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, "", 0, false, NULL) == MOE_OK);
    cr_expect(n == 0 && ids != NULL);
    free(ids);
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, NULL, 0, true, NULL) == MOE_OK);
    cr_expect(n == 1 && moe_tokenizer_is_special(tokenizer, ids[0]));
    free(ids);
    cr_assert(moe_tokenizer_decode(&text, &n, tokenizer, NULL, 0, false, NULL) == MOE_OK);
    cr_expect(n == 0 && text[0] == '\0');
    free(text);
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer, sizes_and_specials) {
    moe_tokenizer *tokenizer = open_family("qwen2");
    struct moe_json doc;
    struct moe_json_iterator it = {0};
    struct moe_json_value token;
    const char *key;
    size_t n = 0, n_special = 0;
    cr_assert(moe_json_open(&doc, MOE_FIXTURES "/tokenizers/qwen2/tokenizer.json", 1 << 20, NULL) == MOE_OK);
    int64_t id = 0;
    while (moe_json_next(&it, moe_json_get(moe_json_root(&doc), "added_tokens"), &key, &token)) {
        bool special;
        cr_assert(moe_json_int(&id, moe_json_get(token, "id"), 0, 1 << 20, NULL) == MOE_OK);
        cr_assert(moe_json_bool(&special, moe_json_get(token, "special"), NULL) == MOE_OK);
        cr_expect(moe_tokenizer_is_special(tokenizer, (uint32_t)id) == special);
        n++;
        n_special += special;
    }
    cr_expect(n == 7 && n_special == 3);
    cr_expect(moe_tokenizer_size(tokenizer) == (size_t)id + 1);
    cr_expect(!moe_tokenizer_is_special(tokenizer, 0));
    cr_expect(!moe_tokenizer_is_special(tokenizer, UINT32_MAX));
    moe_json_close(&doc);
    moe_tokenizer_close(tokenizer);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Texts that a quadratic step would take minutes for: a megabyte of one letter is one word; blanks before
 * what no pattern ends at; marks to be put in order. Sanitizers slow everything down, so the bound is a loose
 * one. */
Test(tokenizer, long_runs) {
    static const char *const families[] = {"qwen2",       "mixtral",    "mistral",
                                           "deepseek_v2", "possessive", "behaviors"};
    static const struct {
        const char *first, *second, *last;
    } runs[] = {{"a", "a", ""}, {" ", " ", "\xe6\xbc\xa2"}, {"\n", "\n", "x"}, {"\xcc\x81", "\xcc\xa3", "a"}};
    enum { N = 1000000 };
    char *text = malloc(N + 8);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        moe_tokenizer *tokenizer = open_family(families[f]);
        for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
            uint32_t *ids;
            size_t n = 0, n_ids, unit = strlen(runs[r].first);
            for (size_t k = 0; n < N; k++, n += unit)
                memcpy(text + n, k % 2 ? runs[r].second : runs[r].first, unit);
            memcpy(text + n, runs[r].last, strlen(runs[r].last));
            double before = seconds();
            cr_assert(moe_tokenizer_encode(&ids, &n_ids, tokenizer, text, n + strlen(runs[r].last), false,
                                           NULL) == MOE_OK);
            cr_expect(seconds() - before < 10, "%s, run %zu: %.1f s", families[f], r, seconds() - before);
            free(ids);
        }
        moe_tokenizer_close(tokenizer);
    }
    free(text);
}
