/* Every allocation and read of a tokenizer's life, failing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"
#include "tests/check/faults.h"
#include "tests/loader/files.h"
#include "tests/text/tokenizers.h"

TestSuite(tokenizer_faults, .init = files_begin, .fini = files_end);

#define NO_FLAG                     FLAGS("false", "false", "false", "false", "false")
#define FIRST_NORMALIZER(component) "'normalizer':" component ","
#define FIRST_SPLIT(component)      "'pre_tokenizer':{" component "},"
#define FIRST_DECODER(component)    "'decoder':{" component "},"
/* six marks, in the wrong order */
#define MARKS                       "\xcc\x81\xcc\xa3\xcc\x81\xcc\xa3\xcc\x81\xcc\xa3"

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

/* ---- one thing at a time ------------------------------------------------------------------------------ */

/* Each array is the one that has to grow: it is the first to be written to, or what went into it before fills
 * the 16 places that it begins with. */
static const struct scenario {
    const char *file, *text;
    uint32_t ids[20];
    size_t n_ids; /* decoded too */
} scenarios[] = {
    /* encoding */
    {.file = "{'added_tokens':[" TOKEN_FLAGS("9", "<x>", NO_FLAG) "]," PLAIN "}", .text = "<x>"},
    {.file = "{'added_tokens':[" TOKEN("9", "<x>") "]," PLAIN "}", .text = "<x>"},
    {.file = "{'added_tokens':[" TOKEN("9", "<a_token_of_20_bytes>") "]," PLAIN "}", .text = "a"},
    {.file = "{'model':{'ignore_merges':true,'vocab':{'ab':0},'merges':[]}}", .text = "ab"},
    {.file = "{" MODEL("'a':0,'aa':1", "'a a'") "}", .text = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {.file = "{" MODEL("'a':0,'bbbbbbbbbbbbbbbbbbbb':1,'abbbbbbbbbbbbbbbbbbbb':2",
                       "['a','bbbbbbbbbbbbbbbbbbbb']") "}",
     .text = "a"},
    /* normalizing */
    {.file = "{" FIRST_NORMALIZER("{'type':'Prepend','prepend':'b'}") PLAIN "}", .text = "aaaaaaaaaaaaaaaa"},
    {.file = "{" FIRST_NORMALIZER("{'type':'Replace','pattern':{'String':'b'},'content':'a'}") PLAIN "}",
     .text = "ab"},
    {.file = "{" FIRST_NORMALIZER("{'type':'Replace','pattern':{'String':'b'},'content':'a'}") PLAIN "}",
     .text = "ba"},
    {.file = "{" FIRST_NORMALIZER("{'type':'NFC'}") PLAIN "}", .text = "aaaaaaaaaaaaaaaaaaaa" MARKS},
    {.file = "{" FIRST_NORMALIZER("{'type':'NFC'}") PLAIN "}", .text = "abc " MARKS MARKS MARKS},
    {.file = "{" FIRST_NORMALIZER("{'type':'NFC'}") PLAIN "}",
     .text = "\xcc\x81"
             "a"},
    /* pieces */
    {.file = "{" FIRST_SPLIT("'type':'Digits','individual_digits':true") PLAIN "}",
     .text = "12345678901234567a"},
    {.file = "{" FIRST_SPLIT("'type':'Digits','individual_digits':true") PLAIN "}",
     .text = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"},
    {.file = "{" FIRST_SPLIT("'type':'Digits','individual_digits':true") PLAIN "}",
     .text = "1a2a3a4a5a6a7a8a9"},
    {.file = "{" FIRST_SPLIT("'type':'Digits','individual_digits':true") PLAIN "}",
     .text = "1a2a3a4a5a6a7a8a"},
    {.file = "{" FIRST_SPLIT("'type':'Split','pattern':{'String':'b'},'behavior':'Isolated','invert':false")
         PLAIN "}",
     .text = "abababababababababababab"},
    {.file = "{" FIRST_SPLIT("'type':'Split','pattern':{'String':'b'},'behavior':'Isolated','invert':false")
         PLAIN "}",
     .text = "babababababababababababa"},
    {.file = "{" FIRST_SPLIT("'type':'Split','pattern':{'String':'b'},'behavior':'Isolated','invert':false")
         PLAIN "}",
     .text = "ababababababababb"},
    {.file = "{" FIRST_SPLIT("'type':'ByteLevel','add_prefix_space':true,'use_regex':false") PLAIN "}",
     .text = "aaaaaaaaaaaaaaaa"},
    {.file = "{" FIRST_SPLIT("'type':'ByteLevel','add_prefix_space':false,'use_regex':true") PLAIN "}",
     .text = "a b"},
    {.file = "{" FIRST_SPLIT("'type':'ByteLevel','add_prefix_space':false,'use_regex':false") PLAIN "}",
     .text = "a"},
    {.file = "{" FIRST_SPLIT("'type':'Metaspace','replacement':'_'") PLAIN "}", .text = "a b"},
    {.file = "{" FIRST_SPLIT("'type':'Metaspace','replacement':'_','split':false") PLAIN "}",
     .text = "aaaaaaaaaaaaaaaa"},
    /* decoding */
    {.file = "{" MODEL("'aaaaaaaaaaaaaaaa':0", "") "}", .text = "", .ids = {0, 0}, .n_ids = 2},
    {.file = "{" FIRST_DECODER("'type':'Replace','pattern':{'Regex':'a+'},'content':'b'") PLAIN "}",
     .text = "",
     .ids = {0},
     .n_ids = 1},
    {.file = "{" FIRST_DECODER("'type':'ByteFallback'") MODEL("'<0xC3>':0,'a':1", "") "}",
     .text = "",
     .ids = {0},
     .n_ids = 1},
    {.file = "{" FIRST_DECODER("'type':'ByteFallback'") MODEL("'<0xC3>':0,'a':1", "") "}",
     .text = "",
     .ids = {0, 1},
     .n_ids = 2},
    {.file = "{" FIRST_DECODER("'type':'Strip','content':'c','start':0,'stop':1") MODEL("'cx':0", "") "}",
     .text = "",
     .ids = {0},
     .n_ids = 1},
    {.file = "{" FIRST_DECODER("'type':'ByteLevel'") MODEL("'\xc3\x83':0", "") "}",
     .text = "",
     .ids = {0},
     .n_ids = 1},
};

static moe_status scenario_body(void *context, moe_error *err) {
    const struct scenario *scenario = context;
    moe_tokenizer *tokenizer;
    uint32_t *ids = NULL;
    char *text = NULL;
    size_t n;
    MOE_TRY(moe_tokenizer_open(&tokenizer, files_path(""), err));
    moe_status status =
        moe_tokenizer_encode(&ids, &n, tokenizer, scenario->text, strlen(scenario->text), true, err);
    if (status == MOE_OK)
        status = moe_tokenizer_decode(&text, &n, tokenizer, scenario->ids, scenario->n_ids, false, err);
    free(text);
    free(ids);
    moe_tokenizer_close(tokenizer);
    return status;
}

Test(tokenizer_faults, one_at_a_time) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        moe_tokenizer_close(tokenizers_good(scenarios[i].file)); /* and its file is there */
        faults_check(scenarios[i].file, scenario_body, (void *)(uintptr_t)&scenarios[i], MOE_OK);
    }
}

/* Tokens in whose trie each node is the one that an array grows for. */
Test(tokenizer_faults, tries) {
    for (int n = 1; n < 40; n++) {
        char text[400], name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        name[n] = '\0';
        snprintf(text, sizeof text, "{'added_tokens':[" TOKEN("9", "%s") "]," PLAIN "}", name);
        moe_tokenizer_close(tokenizers_good(text));
        faults_check(name, scenario_body, &(struct scenario){.text = "ab"}, MOE_OK);
    }
}

/* Searches that are given up, wherever a file may have a pattern. */
Test(tokenizer_faults, endless_searches) {
#define ENDLESS "'pattern':{'Regex':'(?:a+|b)+(?:a+|b)+(?:a+|b)+c'}"
    static const struct scenario endless[] = {
        {.file = "{" FIRST_NORMALIZER("{'type':'Replace'," ENDLESS ",'content':''}") PLAIN "}"},
        {.file =
             "{" FIRST_SPLIT("'type':'Split'," ENDLESS ",'behavior':'Removed','invert':false") PLAIN "}"}};
    for (size_t i = 0; i < 2; i++) {
        moe_error err = {""};
        uint32_t *ids = (uint32_t *)&err;
        size_t n;
        static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        moe_tokenizer *tokenizer = tokenizers_good(endless[i].file);
        cr_expect(moe_tokenizer_encode(&ids, &n, tokenizer, text, strlen(text), true, &err) ==
                  MOE_E_UNSUPPORTED);
        cr_expect(ids == NULL && contains(err.message, "takes too many steps on this text"), "%s",
                  err.message);
        moe_tokenizer_close(tokenizer);
    }
}
