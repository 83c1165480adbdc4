/* Encoding: rules of which no tokenizer in use has an example. The ids are the reference's own. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/loader/files.h"
#include "tests/text/tokenizers.h"
#include "text/bpe.h"
#include "text/buffer.h"
#include "text/trie.h"

TestSuite(tokenizer_ids, .init = files_begin, .fini = files_end);

#define NONE FLAGS("false", "false", "false", "false", "false")

/* Of two tokens of one content the later one counts, whichever flag tells them apart. */
Test(tokenizer_ids, a_token_given_twice) {
    static const struct {
        const char *flags, *text, *want;
    } cases[] = {{FLAGS("true", "false", "false", "false", "false"), "axb x b", "2 3 1"},
                 {FLAGS("false", "true", "false", "false", "false"), "a x b", "0 3 1"},
                 {FLAGS("false", "false", "true", "false", "false"), "a x b", "0 3 1"},
                 {FLAGS("false", "false", "false", "true", "false"), "aXb", "0 3 1"},
                 {NONE, "axb", "0 3 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[800];
        snprintf(text, sizeof text,
                 "{'normalizer':{'type':'Replace','pattern':{'String':'X'},'content':'x'},'added_tokens':["
                 "{'id':3,'content':'x'," NONE "},{'id':3,'content':'x',%s}]," PLAIN "}",
                 cases[i].flags);
        moe_tokenizer *tokenizer = tokenizers_good(text);
        tokenizers_encode(tokenizer, cases[i].text, cases[i].want);
        moe_tokenizer_close(tokenizer);
    }
    moe_tokenizer *tokenizer =
        tokenizers_good("{'added_tokens':[" TOKEN_FLAGS("3", "x", NONE) "," TOKEN_FLAGS(
            "3", "x", FLAGS("false", "false", "false", "false", "true")) "]," PLAIN "}");
    cr_expect(moe_tokenizer_is_special(tokenizer, 3));
    moe_tokenizer_close(tokenizer);
}

/* "x" gets the next free id, counted from the number of entries: the one that the vocabulary gave to "a". */
Test(tokenizer_ids, an_id_given_twice) {
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'added_tokens':[" TOKEN_FLAGS("9", "x", NONE) "," TOKEN_FLAGS("9", "a", NONE) "," TOKEN_FLAGS(
            "9", "x", FLAGS("false", "false", "false", "false", "true")) "]," MODEL("'a':3,'b':2,'ab':1",
                                                                                    "'a b'") "}");
    tokenizers_encode(tokenizer, "xb", "3 2");
    tokenizers_decode(tokenizer, (const uint32_t[]){3, 2}, 2, "x b");
    moe_tokenizer_close(tokenizer);
}

/* A form of the same length is another text. */
Test(tokenizer_ids, a_token_that_the_normalizer_changes) {
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'normalizer':{'type':'Replace','pattern':{'String':'X'},'content':'y'},'added_tokens':[" TOKEN(
            "3", "X") "]," PLAIN "}");
    tokenizers_encode(tokenizer, "aXyb", "0 3 3 1");
    tokenizers_decode(tokenizer, (const uint32_t[]){3}, 1, "y");
    moe_tokenizer_close(tokenizer);
}

#define RSTRIP FLAGS("false", "false", "true", "false", "false")
#define LSTRIP FLAGS("false", "true", "false", "false", "false")

/* Whitespace between two tokens goes to the first that takes it. */
Test(tokenizer_ids, whitespace_that_two_tokens_take) {
    moe_error err = {""};
    uint32_t *ids;
    size_t n;
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'added_tokens':[" TOKEN_FLAGS("3", "x", RSTRIP) "," TOKEN_FLAGS("4", "y", LSTRIP) "]," PLAIN "}");
    tokenizers_encode(tokenizer, "x  y", "3 4");
    moe_tokenizer_close(tokenizer);
    tokenizer = tokenizers_good(
        "{'added_tokens':[" TOKEN_FLAGS("3", "x", RSTRIP) "," TOKEN_FLAGS("4", "   ", LSTRIP) "]," PLAIN "}");
    tokenizers_encode(tokenizer, "x   a", "3 0"); /* nothing is left of the second */
    moe_tokenizer_close(tokenizer);
    tokenizer = tokenizers_good(
        "{'added_tokens':[" TOKEN_FLAGS("3", "x", RSTRIP) "," TOKEN_FLAGS("4", " ", LSTRIP) "]," PLAIN "}");
    cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, "x   a", 5, true, &err) == MOE_E_UNSUPPORTED);
    cr_expect(ids == NULL && contains(err.message, "\" \" lies in whitespace that another one takes"), "%s",
              err.message);
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_ids, unknown_characters) {
    moe_tokenizer *tokenizer =
        tokenizers_good("{'model':{'unk_token':'u','vocab':{'a':0,'u':1},'merges':[]}}");
    tokenizers_encode(tokenizer, "xxaxx", "1 1 0 1 1");
    moe_tokenizer_close(tokenizer);
    tokenizer =
        tokenizers_good("{'model':{'unk_token':'u','fuse_unk':true,'vocab':{'a':0,'u':1},'merges':[]}}");
    tokenizers_encode(tokenizer, "xxaxx", "1 0 1");
    moe_tokenizer_close(tokenizer);
}

/* A token of nothing, and merges with it, are never met. */
Test(tokenizer_ids, an_empty_token) {
    static const char *const merges[] = {"['','b'],['a','']", "' b','a '"};
    for (size_t i = 0; i < 2; i++) {
        char text[200];
        snprintf(text, sizeof text, "{" MODEL("'':0,'a':1,'b':2", "%s") "}", merges[i]);
        moe_tokenizer *tokenizer = tokenizers_good(text);
        tokenizers_encode(tokenizer, "aba", "1 2 1");
        moe_tokenizer_close(tokenizer);
    }
}

/* Files converted from merges.txt have its first line. */
Test(tokenizer_ids, a_version_among_the_merges) {
    moe_tokenizer *tokenizer = tokenizers_good("{" MODEL("'a':0,'b':1,'ab':2", "'#version: 0.2','a b'") "}");
    tokenizers_encode(tokenizer, "aba", "2 0");
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_ids, a_text_of_more_than_a_gibibyte) {
    moe_error err = {""};
    uint32_t *ids;
    size_t n;
    moe_tokenizer *tokenizer = tokenizers_good("{" PLAIN "}");
    cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, "a", ((size_t)1 << 30) + 1, true, &err) ==
              MOE_E_ARGUMENT);
    cr_expect_str_eq(err.message, "a text of 1073741825 bytes, expected at most 1073741824");
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_ids, arrays_whose_size_overflows) {
    void *data = NULL;
    size_t capacity = 0;
    cr_expect(moe_array_grow(&data, &capacity, 0, 3, 8) && capacity >= 3);
    cr_expect(!moe_array_grow(&data, &capacity, 3, SIZE_MAX / 8, 8));
    cr_expect(data != NULL && capacity < 100); /* as it was */
    free(data);
}

Test(tokenizer_ids, a_word_whose_positions_overflow) {
    static const struct moe_bpe bpe;
    struct moe_bpe_scratch scratch = {0};
    struct moe_ids ids = {0};
    moe_error err = {""};
    cr_expect(moe_bpe_encode(&ids, &bpe, &scratch, "a", UINT32_MAX, &err) == MOE_E_ARGUMENT);
    cr_expect_str_eq(err.message, "a word of 4294967295 bytes is too long");
}

Test(tokenizer_ids, a_trie_that_is_full) {
    struct moe_trie trie = {.n = 1 << 24};
    bool is_new;
    cr_expect(!moe_trie_add(&trie, &is_new, "a", 1, 0));
    moe_trie_free(&trie);
}

/* Tokens whose hashes are equal, in all 32 bits: two of one length, two of different lengths. */
Test(tokenizer_ids, tokens_that_collide) {
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'model':{'type':'BPE','ignore_merges':true,'vocab':{'sdym':0,'nyow':1,'gsk':2,'rixr':3},'merges':[]},"
        "'pre_tokenizer':{'type':'Split','pattern':{'String':' '},'behavior':'Removed','invert':false}}");
    tokenizers_encode(tokenizer, "nyow sdym rixr gsk", "1 0 3 2");
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_ids, behaviours_of_split) {
    static const struct {
        const char *pattern, *behavior, *invert, *want;
    } cases[] = {
        {"'String':'x'", "Removed", "false", "0 1 2"},
        {"'String':'x'", "Isolated", "false", "0 3 3 1 3 3 2"},
        {"'String':'x'", "MergedWithPrevious", "false", "4 3 5 3 2"},
        {"'String':'x'", "MergedWithNext", "false", "0 3 6 3 7"},
        {"'String':'x'", "Contiguous", "false", "0 8 1 8 2"},
        {"'String':'x'", "Removed", "true", "3 3 3 3"},
        {"'String':'x'", "MergedWithPrevious", "true", "0 3 6 3 7"},
        {"'String':'x'", "MergedWithNext", "true", "4 3 5 3 2"},
        {"'Regex':'y*'", "Isolated", "false", "0 3 3 1 3 3 2"}, /* matches of nothing leave no piece */
        {"'Regex':'y*'", "Removed", "false", "0 3 3 1 3 3 2"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[500];
        snprintf(
            text, sizeof text,
            "{'pre_tokenizer':{'type':'Split','pattern':{%s},'behavior':'%s','invert':%s},"
            "'model':{'type':'BPE','ignore_merges':true,'merges':[],'vocab':{'a':0,'b':1,'c':2,'x':3,'ax':4,"
            "'bx':5,'xb':6,'xc':7,'xx':8}}}",
            cases[i].pattern, cases[i].behavior, cases[i].invert);
        moe_tokenizer *tokenizer = tokenizers_good(text);
        tokenizers_encode(tokenizer, "axxbxxc", cases[i].want);
        moe_tokenizer_close(tokenizer);
    }
}

Test(tokenizer_ids, metaspace_that_prepends_nothing) {
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'pre_tokenizer':{'type':'Metaspace','replacement':'_','prepend_scheme':'never'}," MODEL(
            "'a':0,'_':1,'b':2,'_b':3,'a_':4", "'_ b','a _'") "}");
    tokenizers_encode(tokenizer, "a b", "0 3");
    moe_tokenizer_close(tokenizer);
}

Test(tokenizer_ids, a_text_that_the_normalizer_empties) {
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'normalizer':{'type':'Sequence','normalizers':[{'type':'Replace','pattern':{'String':'a'},'content':"
        "''},{'type':'Prepend','prepend':'b'}]}," PLAIN "}");
    tokenizers_encode(tokenizer, "aa", "");
    tokenizers_encode(tokenizer, "ab", "1 1");
    moe_tokenizer_close(tokenizer);
}

/* What a token takes for whitespace around it, and for a part of a word. */
Test(tokenizer_ids, spaces_and_words) {
    static const char *const spaces[] = {"\t", "\x0b", "\r", "\xc2\x85", "\xc2\xa0", "\xe2\x80\x83"},
                             *const others[] = {"\x01", "\x1f", "\xe2\x80\x8b"},
                             *const words[] = {"a",        "1",           "_", "\xe2\x80\x8c", "\xe2\x80\x8d",
                                               "\xcc\x81", "\xe2\x93\x90"},
                             *const no_words[] = {"-", "\xc2\xb2", "\xf0\x9f\x98\x80"};
    char text[80];
    moe_tokenizer *tokenizer = tokenizers_good("{'added_tokens':[" TOKEN_FLAGS("3", "x", LSTRIP) "]," MODEL(
        "'\\u0001':0,'\\u001f':1,'\xe2\x80\x8b':2", "") "}");
#define EACH(list) for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++)
    EACH(spaces) {
        snprintf(text, sizeof text, "%sx", spaces[i]);
        tokenizers_encode(tokenizer, text, "3");
    }
    EACH(others) {
        char want[] = "0 3";
        want[0] = (char)('0' + i);
        snprintf(text, sizeof text, "%sx", others[i]);
        tokenizers_encode(tokenizer, text, want);
    }
    moe_tokenizer_close(tokenizer);
    tokenizer = tokenizers_good("{'added_tokens':[" TOKEN_FLAGS(
        "3", "x", FLAGS("true", "false", "false", "false", "false")) "]," MODEL("'u':0", "") "}");
    EACH(words) {
        snprintf(text, sizeof text, "%sx", words[i]);
        tokenizers_encode(tokenizer, text, "");
        snprintf(text, sizeof text, "x%s", words[i]);
        tokenizers_encode(tokenizer, text, "");
    }
    EACH(no_words) {
        snprintf(text, sizeof text, "%sx%s", no_words[i], no_words[i]);
        tokenizers_encode(tokenizer, text, "1");
    }
#undef EACH
    moe_tokenizer_close(tokenizer);
}

/* Digits knows a newer Unicode than everything else: U+11DE0 and U+16FF4 are of 17. */
Test(tokenizer_ids, what_is_a_digit) {
    moe_tokenizer *tokenizer = tokenizers_good(
        "{'pre_tokenizer':{'type':'Digits','individual_digits':true},'model':{'type':'BPE','ignore_merges':true,"
        "'merges':[],'vocab':{'1':0,'\xc2\xb2':1,'\xe2\x85\xa7':2,'\xf0\x91\xb7\xa0':3,'\xf0\x96\xbf\xb4':4,'ab':5}}}");
    tokenizers_encode(tokenizer,
                      "ab1\xc2\xb2\xe2\x85\xa7\xf0\x91\xb7\xa0\xf0\x96\xbf\xb4"
                      "ab",
                      "5 0 1 2 3 4 5");
    moe_tokenizer_close(tokenizer);
}

/* Of the vocabulary, of added tokens, or of what the post-processor puts around a text, which need be no
 * token. */
Test(tokenizer_ids, the_largest_one_that_encoding_gives) {
    static const struct {
        const char *text;
        int64_t largest;
        size_t n_below_8;
    } cases[] = {
        {"{" MODEL("", "") "}", -1, 0},
        {"{" PLAIN "}", 2, 3},
        {"{'added_tokens':[" TOKEN("3", "x") "]," PLAIN "}", 3, 4},
        {"{'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'s'}},"
         "{'Sequence':{'id':'A'}}],'special_tokens':{'s':{'id':'s','ids':[12,5,90,0],'tokens':['x']}}}," PLAIN
         "}",
         90, 3},
        {"{'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'s'}},"
         "{'Sequence':{'id':'A'}}],'special_tokens':{'s':{'id':'s','ids':[1],'tokens':['x']}}}," PLAIN "}",
         2, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_tokenizer *tokenizer = tokenizers_good(cases[i].text);
        cr_expect_eq(moe_tokenizer_largest_id(tokenizer), cases[i].largest, "%s", cases[i].text);
        cr_expect_eq(moe_tokenizer_count(tokenizer, 8), cases[i].n_below_8, "%s", cases[i].text);
        moe_tokenizer_close(tokenizer);
    }
}
