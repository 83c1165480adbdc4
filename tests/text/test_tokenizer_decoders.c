/* Decoding: rules of which no tokenizer in use has an example. The texts are the reference's own, but where
 * it panics. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/loader/files.h"
#include "tests/text/tokenizers.h"

TestSuite(tokenizer_decoders, .init = files_begin, .fini = files_end);

#define DECODED(decoder, vocab) "{'decoder':{" decoder "}," MODEL(vocab, "") "}"

static void check(const char *text, const uint32_t *ids, size_t n, const char *want) {
    moe_tokenizer *tokenizer = tokenizers_good(text);
    tokenizers_decode(tokenizer, ids, n, want);
    moe_tokenizer_close(tokenizer);
}

/* A token of the byte alphabet is bytes; U+0020, 7F, A0, AD and 144 are not of it, and such a token is text.
 */
Test(tokenizer_decoders, characters_beside_the_byte_alphabet) {
    static const struct {
        const char *token, *want;
    } cases[] = {{"a\xc4\xa0", "a "},
                 {"\xc5\x83", "\xef\xbf\xbd"}, /* U+0143 is the byte AD, no text by itself */
                 {"\xc4\xa0 ", "\xc4\xa0 "},
                 {"\xc4\xa0\x7f", "\xc4\xa0\x7f"},
                 {"\xc4\xa0\xc2\xa0", "\xc4\xa0\xc2\xa0"},
                 {"\xc4\xa0\xc2\xad", "\xc4\xa0\xc2\xad"},
                 {"\xc4\xa0\xc5\x84", "\xc4\xa0\xc5\x84"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "{'decoder':{'type':'ByteLevel','add_prefix_space':true,'trim_offsets':true,'use_regex':"
                 "true}," MODEL("'%s':0", "") "}",
                 cases[i].token);
        check(text, (const uint32_t[]){0}, 1, cases[i].want);
    }
}

Test(tokenizer_decoders, what_is_a_byte_token) {
    static const char *const tokens[] = {"<0x4G>", "<0xG4>", "<0x41)", "<0y41>", "<0x4+>", "<0x041>"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        char text[200];
        snprintf(text, sizeof text, "{'decoder':{'type':'ByteFallback'}," MODEL("'%s':0", "") "}", tokens[i]);
        check(text, (const uint32_t[]){0}, 1, tokens[i]);
    }
    check(DECODED("'type':'ByteFallback'", "'<0x41>':0,'<0x+4>':1"), (const uint32_t[]){0, 1}, 2, "A\x04");
}

/* In a token of nothing a pattern finds nothing, not even nothing. */
Test(tokenizer_decoders, an_empty_token) {
    check(DECODED("'type':'Replace','pattern':{'Regex':'x*'},'content':'c'", "'':0,'a':1"),
          (const uint32_t[]){0, 1, 0}, 3, "cac");
}

Test(tokenizer_decoders, characters_of_several_bytes) {
    static const uint32_t ids[] = {0, 1};
    check(DECODED("'type':'Metaspace','replacement':'\xe2\x96\x81','prepend_scheme':'never'",
                  "'\xe2\x96\x81"
                  "a':0,'b\xe2\x96\x81':1"),
          ids, 2, " ab ");
    check(DECODED("'type':'Strip','content':'\xe2\x96\x81','start':1,'stop':1", "'\xe2\x96\x81"
                                                                                "a':0,'b\xe2\x96\x81':1"),
          ids, 2, "ab");
}

/* Ids between those of the vocabulary, and above. */
Test(tokenizer_decoders, ids_without_a_token) {
    check("{" MODEL("'a':0,'b':5", "") "}", (const uint32_t[]){0, 3, 5, 6, UINT32_MAX}, 5, "a b");
}

/* A pattern that would never end says so instead. */
Test(tokenizer_decoders, gives_up) {
    moe_error err = {""};
    char *text = (char *)&err;
    size_t n;
    moe_tokenizer *tokenizer = tokenizers_good(
        DECODED("'type':'Replace','pattern':{'Regex':'(?:a+|b)+(?:a+|b)+(?:a+|b)+c'},'content':''",
                "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa':0"));
    cr_expect(moe_tokenizer_decode(&text, &n, tokenizer, (const uint32_t[]){0}, 1, false, &err) ==
              MOE_E_UNSUPPORTED);
    cr_expect(text == NULL && contains(err.message, "decoder.pattern.Regex: regular expression ") &&
                  contains(err.message, "takes too many steps on this text"),
              "%s", err.message);
    moe_tokenizer_close(tokenizer);
}
