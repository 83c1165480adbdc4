/* Files that are wrong, hostile, or ask for what is not implemented: each an error of one line that names the
 * place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"
#include "tests/loader/files.h"
#include "tests/text/tokenizers.h"

TestSuite(tokenizer_files, .init = files_begin, .fini = files_end);

Test(tokenizer_files, plain_is_accepted) {
    moe_tokenizer *tokenizer;
    moe_error err;
    cr_assert(tokenizers_open(&tokenizer, "{" PLAIN "}", &err) == MOE_OK, "%s", err.message);
    uint32_t *ids;
    size_t n;
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, "abxba", 5, true, &err) == MOE_OK);
    cr_expect(n == 3 && ids[0] == 2 && ids[1] == 1 && ids[2] == 0); /* what is unknown is left out */
    free(ids);
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_files, absent) {
    moe_error err;
    moe_tokenizer *tokenizer;
    char path[400];
    snprintf(path, sizeof path, "%s", files_path(""));
    cr_expect(moe_tokenizer_open(&tokenizer, path, &err) == MOE_E_IO);
    cr_expect(contains(err.message, "tokenizer.json"));
}

Test(tokenizer_files, top_level) {
    tokenizers_refused("[]", MOE_E_FORMAT, "expected an object");
    tokenizers_refused("{", MOE_E_FORMAT, "");
    tokenizers_refused("{}", MOE_E_FORMAT, "model");
    tokenizers_refused("{\"version\":\"2.0\"," PLAIN "}", MOE_E_UNSUPPORTED, "version: \"2.0\"");
    tokenizers_refused("{\"version\":null," PLAIN "}", MOE_E_FORMAT, "version");
    tokenizers_refused("{\"padding\":{\"strategy\":{\"Fixed\":8}}," PLAIN "}", MOE_E_UNSUPPORTED, "padding");
    tokenizers_refused("{\"padding\":{\"strategy\":\"BatchLongest\",\"pad_to_multiple_of\":8}," PLAIN "}",
                       MOE_E_UNSUPPORTED, "padding");
    tokenizers_refused("{\"truncation\":{\"max_length\":-1}," PLAIN "}", MOE_E_FORMAT,
                       "truncation.max_length");
}

Test(tokenizer_files, model) {
    tokenizers_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", MOE_E_UNSUPPORTED, "\"Unigram\"");
    tokenizers_refused("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", MOE_E_UNSUPPORTED,
                       "\"WordPiece\"");
    tokenizers_refused("{" MODEL("\"a\":-1", "") "}", MOE_E_FORMAT, "model.vocab.a");
    tokenizers_refused("{" MODEL("\"a\":1.5", "") "}", MOE_E_FORMAT, "model.vocab.a");
    tokenizers_refused("{" MODEL("\"a\":\"0\"", "") "}", MOE_E_FORMAT, "model.vocab.a");
    tokenizers_refused("{" MODEL("\"a\":4000000000", "") "}", MOE_E_FORMAT, "an integer from 0 to 16777215");
    tokenizers_refused("{" MODEL("\"a\":0,\"a\":1", "") "}", MOE_E_FORMAT, "");
    tokenizers_refused("{" MODEL("\"a\":3,\"b\":3", "") "}", MOE_E_FORMAT,
                       "\"a\" and \"b\" have the same id 3");
    tokenizers_refused("{" MODEL("\"a\":0,\"b\":1", "\"a b\"") "}", MOE_E_FORMAT,
                       "model.merges[0]: \"ab\" is not in the vocabulary");
    tokenizers_refused("{" MODEL("\"a\":0,\"ab\":1", "[\"a\",\"b\"]") "}", MOE_E_FORMAT,
                       "\"b\" is not in the vocabulary");
    tokenizers_refused("{" MODEL("\"a\":0", "\"a\"") "}", MOE_E_FORMAT,
                       "model.merges[0]: expected two tokens");
    tokenizers_refused("{" MODEL("\"a\":0", "\"a  a\"") "}", MOE_E_FORMAT, "model.merges[0]");
    tokenizers_refused("{" MODEL("\"a\":0", "[\"a\"]") "}", MOE_E_FORMAT, "a list of two tokens");
    tokenizers_refused("{" MODEL("\"a\":0", "[\"a\",\"a\",\"a\"]") "}", MOE_E_FORMAT, "a list of two tokens");
    tokenizers_refused("{" MODEL("\"a\":0", "7") "}", MOE_E_FORMAT, "model.merges[0]");
    tokenizers_refused("{\"model\":{\"vocab\":{\"a\":0}}}", MOE_E_FORMAT, "model.merges");
    tokenizers_refused("{\"model\":{\"vocab\":[],\"merges\":[]}}", MOE_E_FORMAT, "model.vocab");
    tokenizers_refused("{\"model\":{\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", MOE_E_UNSUPPORTED,
                       "model.dropout");
    tokenizers_refused("{\"model\":{\"continuing_subword_prefix\":\"##\",\"vocab\":{},\"merges\":[]}}",
                       MOE_E_UNSUPPORTED, "model.continuing_subword_prefix");
    tokenizers_refused("{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":{},\"merges\":[]}}",
                       MOE_E_UNSUPPORTED, "model.end_of_word_suffix");
    tokenizers_refused("{\"model\":{\"byte_fallback\":1,\"vocab\":{},\"merges\":[]}}", MOE_E_FORMAT,
                       "model.byte_fallback");
}

Test(tokenizer_files, components) {
    tokenizers_refused("{\"normalizer\":{\"type\":\"Lowercase\"}," PLAIN "}", MOE_E_UNSUPPORTED,
                       "normalizer: \"Lowercase\"");
    tokenizers_refused("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"}]}," PLAIN
                       "}",
                       MOE_E_UNSUPPORTED, "normalizer.normalizers[0]: \"Nmt\"");
    tokenizers_refused("{\"normalizer\":7," PLAIN "}", MOE_E_FORMAT, "normalizer");
    tokenizers_refused("{\"normalizer\":{}," PLAIN "}", MOE_E_FORMAT, "normalizer.type");
    tokenizers_refused(
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a*\"},\"content\":\"b\"}," PLAIN "}",
        MOE_E_UNSUPPORTED, "matches the empty string");
    tokenizers_refused(
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"b\"}," PLAIN "}",
        MOE_E_UNSUPPORTED, "an empty string");
    tokenizers_refused("{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," PLAIN "}", MOE_E_UNSUPPORTED,
                       "pre_tokenizer: \"Whitespace\"");
    tokenizers_refused(
        "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a)\\\\1\"},\"behavior\":"
        "\"Removed\","
        "\"invert\":false}," PLAIN "}",
        MOE_E_UNSUPPORTED, "pre_tokenizer.pattern.Regex: regular expression (a)\\1: ");
    tokenizers_refused(
        "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"removed\","
        "\"invert\":false}," PLAIN "}",
        MOE_E_FORMAT, "pre_tokenizer.behavior");
    tokenizers_refused("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":\"a\",\"behavior\":\"Removed\","
                       "\"invert\":false}," PLAIN "}",
                       MOE_E_FORMAT, "pre_tokenizer.pattern");
    tokenizers_refused("{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}," PLAIN "}",
                       MOE_E_FORMAT, "one character");
    tokenizers_refused(
        "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}," PLAIN
        "}",
        MOE_E_FORMAT, "add_prefix_space");
    tokenizers_refused("{\"decoder\":{\"type\":\"CTC\"}," PLAIN "}", MOE_E_UNSUPPORTED, "decoder: \"CTC\"");
    tokenizers_refused("{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}," PLAIN
                       "}",
                       MOE_E_FORMAT, "decoder.start");
    tokenizers_refused("{\"post_processor\":{\"type\":\"BertProcessing\"}," PLAIN "}", MOE_E_UNSUPPORTED,
                       "\"BertProcessing\"");
    tokenizers_refused(
        "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}],"
        "\"special_tokens\":{}}," PLAIN "}",
        MOE_E_UNSUPPORTED, "\"B\"");
    tokenizers_refused(
        "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}}],"
        "\"special_tokens\":{}}," PLAIN "}",
        MOE_E_FORMAT, "\"s\" is not among special_tokens");
}

Test(tokenizer_files, added_tokens) {
    tokenizers_refused("{\"added_tokens\":[{\"id\":3,\"content\":\"x\"}]," PLAIN "}", MOE_E_FORMAT,
                       "added_tokens[0].single_word");
    tokenizers_refused("{\"added_tokens\":[" TOKEN("-3", "x") "]," PLAIN "}", MOE_E_FORMAT,
                       "added_tokens[0].id");
    tokenizers_refused("{\"added_tokens\":{}," PLAIN "}", MOE_E_FORMAT, "added_tokens");
    tokenizers_refused("{\"normalizer\":{\"type\":\"NFC\"},\"added_tokens\":[" TOKEN(
                           "3", "\xc3\xa9") "," TOKEN("4", "e\xcc\x81") "]," PLAIN "}",
                       MOE_E_UNSUPPORTED, "stands for two tokens");
    tokenizers_refused(
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"\"},"
        "\"added_tokens\":[" TOKEN("3", "x") "]," PLAIN "}",
        MOE_E_UNSUPPORTED, "empty once it is normalized");
}

/* Ids in the file do not count: the vocabulary's do, then the next free one. */
Test(tokenizer_files, ids_of_added_tokens) {
    moe_tokenizer *tokenizer;
    moe_error err;
    uint32_t *ids;
    size_t n;
    cr_assert(tokenizers_open(&tokenizer,
                              "{\"added_tokens\":[" TOKEN("4294967295", "x") "," TOKEN("9", "b") "," TOKEN(
                                  "0", "") "," TOKEN("1", "y") "]," PLAIN "}",
                              &err) == MOE_OK,
              "%s", err.message);
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, "xby", 3, true, &err) == MOE_OK);
    cr_expect(n == 3 && ids[0] == 3 && ids[1] == 1 && ids[2] == 4);
    cr_expect(moe_tokenizer_size(tokenizer) == 5);
    free(ids);
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_files, truncation_that_would_cut) {
    moe_tokenizer *tokenizer;
    moe_error err;
    uint32_t *ids;
    size_t n;
    cr_assert(tokenizers_open(&tokenizer, "{\"truncation\":{\"max_length\":2}," PLAIN "}", &err) == MOE_OK,
              "%s", err.message);
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, "aba", 3, true, &err) == MOE_OK);
    cr_expect(n == 2);
    free(ids);
    cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, "abab", 4, true, &err) == MOE_OK);
    free(ids);
    cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, "ababa", 5, true, &err) == MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "would cut the text's 3 tokens to 2"), "%s", err.message);
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_files, unknown_token_that_is_unknown) {
    moe_tokenizer *tokenizer;
    moe_error err;
    uint32_t *ids;
    size_t n;
    cr_assert(tokenizers_open(&tokenizer,
                              "{\"model\":{\"unk_token\":\"u\",\"vocab\":{\"a\":0},\"merges\":[]}}",
                              &err) == MOE_OK);
    cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, "aa", 2, true, &err) == MOE_OK);
    free(ids);
    cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, "ab", 2, true, &err) == MOE_E_FORMAT);
    cr_expect(contains(err.message, "model.unk_token: \"u\""), "%s", err.message);
    moe_tokenizer_close(tokenizer);
}

/* A mark that sorts between what the first character decomposes to: the second form must not read half of
 * one. */
Test(tokenizer_files, form_after_form) {
    moe_tokenizer *tokenizer;
    moe_error err;
    uint32_t *ids;
    size_t n;
    static const char text[] = "\xef\xac\xac\xe0\xa8\xbc"; /* U+FB2C U+0A3C */
    cr_assert(
        tokenizers_open(&tokenizer,
                        "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},"
                        "{\"type\":\"NFKD\"}]}," MODEL("\"\xd7\xa9\":4,\"\xe0\xa8\xbc\":1,\"\xd6\xbc\":2,"
                                                       "\"\xd7\x81\":3",
                                                       "") "}",
                        &err) == MOE_OK,
        "%s", err.message);
    cr_assert(moe_tokenizer_encode(&ids, &n, tokenizer, text, strlen(text), true, &err) == MOE_OK, "%s",
              err.message);
    cr_expect(n == 4 && ids[0] == 4 && ids[1] == 1 && ids[2] == 2 && ids[3] == 3);
    free(ids);
    moe_tokenizer_close(tokenizer);
}

/* The order of stages is the file's; what follows a joining one sees a single token. */
Test(tokenizer_files, odd_decoders) {
    static const struct {
        const char *decoders, *want;
    } cases[] = {
        {"{\"type\":\"Fuse\"},{\"type\":\"Metaspace\",\"replacement\":\"a\"}", "bbbb"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"a\"}", "bb b b"},
        {"{\"type\":\"Strip\",\"content\":\"a\",\"start\":1,\"stop\":0}", "bbbb"},
        {"{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"b\",\"start\":0,\"stop\":3}", "bbaba"},
        {"{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"b\",\"start\":9,\"stop\":9}", "aba"},
        {"{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"b+\"},\"content\":\"c\"}",
         "cacac"},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"b+\"},\"content\":\"c\"}", "ccacac"},
        {"{\"type\":\"ByteLevel\"},{\"type\":\"Fuse\"}", "bbabab"}};
    static const uint32_t given[] = {1, 1, 2, 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[600];
        moe_tokenizer *tokenizer;
        moe_error err;
        char *got;
        size_t n;
        snprintf(text, sizeof text, "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s]}," PLAIN "}",
                 cases[i].decoders);
        cr_assert(tokenizers_open(&tokenizer, text, &err) == MOE_OK, "%s", err.message);
        cr_assert(moe_tokenizer_decode(&got, &n, tokenizer, given, 4, false, &err) == MOE_OK);
        cr_expect_str_eq(got, cases[i].want, "%s: \"%s\"", cases[i].decoders, got);
        free(got);
        moe_tokenizer_close(tokenizer);
    }
}
