/* Every allocation and read of a tokenizer's life, failing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"
#include "tests/check/faults.h"
#include "tests/loader/files.h"

TestSuite(tokenizer_faults, .init = files_begin, .fini = files_end);

#define ADDED(id, content, normalized)                                                                       \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":true,\"rstrip\":true,"      \
    "\"normalized\":" normalized ",\"special\":true}"

/* a bit of every component */
static const char everything[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[" ADDED("9", "<x>", "false") "," ADDED(
        "10", "Q",
        "true") "],"
                "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":"
                "\"Prepend\",\"prepend\":\"_\"},"
                "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"q+\"},\"content\":\"c\"},"
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\"dd\"},\"content\":\"d\"}]},"
                "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
                "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:x)|[^a-c]{2}\"},\"behavior\":"
                "\"MergedWithNext\",\"invert\":false},"
                "{\"type\":\"Digits\",\"individual_digits\":true},"
                "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"},"
                "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}]"
                "},"
                "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
                "\"<x>\",\"type_id\":0}},"
                "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
                "\"special_tokens\":{\"<x>\":{\"id\":\"<x>\",\"ids\":[9],\"tokens\":[\"<x>\"]}}},"
                "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
                "\"Regex\":\"_+\"},\"content\":\" \"},"
                "{\"type\":\"ByteFallback\"},{\"type\":\"Metaspace\",\"replacement\":\"~\"},{\"type\":"
                "\"Strip\",\"content\":\"c\","
                "\"start\":1,\"stop\":1},{\"type\":\"ByteLevel\"},{\"type\":\"Fuse\"},{\"type\":\"Replace\","
                "\"pattern\":{\"String\":\"a\"},\"content\":\"b\"}]},"
                "\"model\":{\"type\":\"BPE\",\"unk_token\":\"u\",\"byte_fallback\":true,"
                "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"_\":3,\"ab\":4,\"abc\":5,\"u\":6,\"<0xC3>\":7,\"<0x84>"
                "\":8},"
                "\"merges\":[[\"a\",\"b\"],[\"ab\",\"c\"]]}}";

static moe_status use(const moe_tokenizer *tokenizer, moe_error *err) {
    static const char text[] =
        "abc abcabcabcabcabcabcabcabcabcabcabcabc <x> e\xcc\x81qqQ ddd 12 ab\xc3\xa4\xe2\x82\xac";
    uint32_t *ids;
    size_t n_ids, n_text, n_piece;
    char *back = NULL;
    const char *piece;
    moe_decoder *decoder = NULL;
    MOE_TRY(moe_tokenizer_encode(&ids, &n_ids, tokenizer, text, strlen(text), true, err));
    cr_assert(n_ids > 20);
    moe_status status = moe_tokenizer_decode(&back, &n_text, tokenizer, ids, n_ids, false, err);
    cr_assert((back != NULL) == (status == MOE_OK));
    if (status == MOE_OK) status = moe_decoder_open(&decoder, tokenizer, true, err);
    for (size_t i = 0; status == MOE_OK && i < n_ids; i++)
        status = moe_decoder_next(&piece, &n_piece, decoder, ids[i], err);
    if (status == MOE_OK) status = moe_decoder_finish(&piece, &n_piece, decoder, err);
    moe_decoder_close(decoder);
    free(back);
    free(ids);
    return status;
}

static moe_status body(void *context, moe_error *err) {
    moe_tokenizer *tokenizer;
    moe_status status = moe_tokenizer_open(&tokenizer, context, err);
    cr_assert((tokenizer != NULL) == (status == MOE_OK));
    if (status == MOE_OK) status = use(tokenizer, err);
    moe_tokenizer_close(tokenizer);
    return status;
}

Test(tokenizer_faults, everything) {
    char path[400];
    files_text("tokenizer.json", everything);
    snprintf(path, sizeof path, "%s", files_path(""));
    size_t n = faults_check("everything", body, path, MOE_OK);
    cr_expect(n > 300, "%zu calls that can fail", n);
}
