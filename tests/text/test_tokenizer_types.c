/* Keys of tokenizer.json that are absent, or hold something of another type: none is taken for something
 * else, and the message names it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/loader/files.h"
#include "tests/text/tokenizers.h"

TestSuite(tokenizer_types, .init = files_begin, .fini = files_end);

struct wrong {
    const char *text; /* members of the top level */
    const char *key;
};

static void check_all(const struct wrong *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char text[800], what[120];
        snprintf(text, sizeof text, "{%s}", cases[i].text);
        snprintf(what, sizeof what, "tokenizer.json: %s: ", cases[i].key);
        tokenizers_refused(text, MOE_E_FORMAT, what);
    }
}
#define CHECK_ALL(cases) check_all(cases, sizeof(cases) / sizeof *(cases))

Test(tokenizer_types, top_level) {
    static const struct wrong cases[] = {
        {"'version':1," PLAIN, "version"},
        {"'padding':{'strategy':'BatchLongest','pad_to_multiple_of':'8'}," PLAIN,
         "padding.pad_to_multiple_of"},
        {"'truncation':{}," PLAIN, "truncation.max_length"},
    };
    CHECK_ALL(cases);
}

#define OPTION(option) "'model':{" option ",'vocab':{'a':0},'merges':[]}"
#define MERGES(merges) MODEL("'a':0,'b':1,'ab':2", merges)

Test(tokenizer_types, model) {
    static const struct wrong cases[] = {
        {"'model':[]", "model"},
        {OPTION("'type':7"), "model.type"},
        {OPTION("'dropout':'0'"), "model.dropout"},
        {OPTION("'continuing_subword_prefix':0"), "model.continuing_subword_prefix"},
        {OPTION("'end_of_word_suffix':[]"), "model.end_of_word_suffix"},
        {OPTION("'fuse_unk':0"), "model.fuse_unk"},
        {OPTION("'byte_fallback':'no'"), "model.byte_fallback"},
        {OPTION("'ignore_merges':{}"), "model.ignore_merges"},
        {OPTION("'unk_token':0"), "model.unk_token"},
        {MERGES("'a b',['a','b']"), "model.merges[1]"}, /* the form of the first is that of all */
        {MERGES("['a','b'],'a b'"), "model.merges[1]"},
        {MERGES("[]"), "model.merges[0]"},
        {MERGES("[1,'b']"), "model.merges[0][0]"},
        {MERGES("['a',1]"), "model.merges[0][1]"},
        {MERGES("['x','b']"), "model.merges[0]"},
    };
    CHECK_ALL(cases);
}

#define ADDED(flags) "'added_tokens':[{" flags "}]," PLAIN

Test(tokenizer_types, added_tokens) {
    static const struct wrong cases[] = {
        {"'added_tokens':['x']," PLAIN, "added_tokens[0].id"},
        {ADDED("'id':1.5,'content':'x'," FLAGS("false", "false", "false", "false", "false")),
         "added_tokens[0].id"},
        {ADDED("'id':1,'content':7," FLAGS("false", "false", "false", "false", "false")),
         "added_tokens[0].content"},
        {ADDED("'id':1,'content':'x'," FLAGS("0", "false", "false", "false", "false")),
         "added_tokens[0].single_word"},
        {ADDED("'id':1,'content':'x'," FLAGS("false", "null", "false", "false", "false")),
         "added_tokens[0].lstrip"},
        {ADDED("'id':1,'content':'x'," FLAGS("false", "false", "'no'", "false", "false")),
         "added_tokens[0].rstrip"},
        {ADDED("'id':1,'content':'x'," FLAGS("false", "false", "false", "1", "false")),
         "added_tokens[0].normalized"},
        {ADDED("'id':1,'content':'x'," FLAGS("false", "false", "false", "false", "{}")),
         "added_tokens[0].special"},
    };
    CHECK_ALL(cases);
}

#define NORMALIZER(component)    "'normalizer':{" component "}," PLAIN
#define PRE_TOKENIZER(component) "'pre_tokenizer':{" component "}," PLAIN
#define DECODER(component)       "'decoder':{" component "}," PLAIN

Test(tokenizer_types, patterns) {
    static const struct wrong cases[] = {
        {NORMALIZER("'type':'Replace','pattern':{},'content':''"), "normalizer.pattern"},
        {NORMALIZER("'type':'Replace','pattern':{'Glob':'a'},'content':''"), "normalizer.pattern"},
        {NORMALIZER("'type':'Replace','pattern':{'String':'a','Regex':'a'},'content':''"),
         "normalizer.pattern"},
        {NORMALIZER("'type':'Replace','pattern':{'String':7},'content':''"), "normalizer.pattern.String"},
        {NORMALIZER("'type':'Replace','pattern':{'Regex':7},'content':''"), "normalizer.pattern.Regex"},
    };
    CHECK_ALL(cases);
}

Test(tokenizer_types, normalizer) {
    static const struct wrong cases[] = {
        {NORMALIZER("'type':'Sequence','normalizers':{}"), "normalizer.normalizers"},
        {NORMALIZER("'type':'Sequence','normalizers':[7]"), "normalizer.normalizers[0]"},
        {NORMALIZER("'type':'Prepend','prepend':7"), "normalizer.prepend"},
        {NORMALIZER("'type':'Replace','pattern':{'String':'a'}"), "normalizer.content"},
    };
    CHECK_ALL(cases);
}

Test(tokenizer_types, pre_tokenizer) {
    static const struct wrong cases[] = {
        {PRE_TOKENIZER("'type':'Split','pattern':{'String':'a'},'behavior':7,'invert':false"),
         "pre_tokenizer.behavior"},
        {PRE_TOKENIZER("'type':'Split','pattern':{'String':'a'},'behavior':'Removed'"),
         "pre_tokenizer.invert"},
        {PRE_TOKENIZER("'type':'Digits'"), "pre_tokenizer.individual_digits"},
        {PRE_TOKENIZER("'type':'ByteLevel'"), "pre_tokenizer.add_prefix_space"},
        {PRE_TOKENIZER("'type':'ByteLevel','add_prefix_space':false,'use_regex':0"),
         "pre_tokenizer.use_regex"},
        {PRE_TOKENIZER("'type':'Metaspace'"), "pre_tokenizer.replacement"},
        {PRE_TOKENIZER("'type':'Metaspace','replacement':''"), "pre_tokenizer.replacement"},
        {PRE_TOKENIZER("'type':'Metaspace','replacement':'_','split':0"), "pre_tokenizer.split"},
        {PRE_TOKENIZER("'type':'Metaspace','replacement':'_','add_prefix_space':'no'"),
         "pre_tokenizer.add_prefix_space"},
        {PRE_TOKENIZER("'type':'Metaspace','replacement':'_','prepend_scheme':0"),
         "pre_tokenizer.prepend_scheme"},
        {PRE_TOKENIZER("'type':'Metaspace','replacement':'_','prepend_scheme':'last'"),
         "pre_tokenizer.prepend_scheme"},
    };
    CHECK_ALL(cases);
}

Test(tokenizer_types, decoder) {
    static const struct wrong cases[] = {
        {DECODER("'type':'Sequence'"), "decoder.decoders"},
        {DECODER("'type':'Replace','pattern':7,'content':''"), "decoder.pattern"},
        {DECODER("'type':'Replace','pattern':{'String':'a'},'content':7"), "decoder.content"},
        {DECODER("'type':'Strip','content':'ab','start':0,'stop':0"), "decoder.content"},
        {DECODER("'type':'Strip','content':'a','start':0,'stop':0.5"), "decoder.stop"},
        {DECODER("'type':'Metaspace','replacement':7"), "decoder.replacement"},
        {DECODER("'type':'Metaspace','replacement':'_','prepend_scheme':7"), "decoder.prepend_scheme"},
        {DECODER("'type':'Metaspace','replacement':'_','prepend_scheme':'last'"), "decoder.prepend_scheme"},
        {DECODER("'type':'Metaspace','replacement':'_','add_prefix_space':7"), "decoder.add_prefix_space"},
        {DECODER("'type':'Metaspace','replacement':'_','add_prefix_space':false"),
         "decoder.add_prefix_space"},
        {DECODER("'type':'Metaspace','replacement':'_','add_prefix_space':false,'prepend_scheme':'first'"),
         "decoder.add_prefix_space"},
    };
    CHECK_ALL(cases);
}

#define TEMPLATE(more) "'post_processor':{'type':'TemplateProcessing'," more "}," PLAIN
#define SPECIAL(ids)                                                                                         \
    "'single':[{'SpecialToken':{'id':'s'}}],'special_tokens':{'s':{'id':'s','ids':" ids ",'tokens':['s']}}"

Test(tokenizer_types, post_processor) {
    static const struct wrong cases[] = {
        {TEMPLATE("'single':'$A'"), "post_processor.single"},
        {TEMPLATE("'single':[{}]"), "post_processor.single[0]"},
        {TEMPLATE("'single':[{'Sequence':{'id':0}}]"), "post_processor.single[0].Sequence.id"},
        {TEMPLATE("'single':[{'SpecialToken':'s'}]"), "post_processor.single[0].SpecialToken.id"},
        {TEMPLATE(SPECIAL("0")), "post_processor.special_tokens.s.ids"},
        {TEMPLATE(SPECIAL("[-1]")), "post_processor.special_tokens.s.ids[0]"},
    };
    CHECK_ALL(cases);
}

/* What says that nothing is wanted is no mistake. */
Test(tokenizer_types, harmless_values) {
    static const char *const texts[] = {
        "{'padding':{'strategy':'BatchLongest'}," PLAIN "}",
        "{'padding':{'strategy':'BatchLongest','pad_to_multiple_of':1}," PLAIN "}",
        "{" OPTION("'dropout':0.0,'continuing_subword_prefix':'','end_of_word_suffix':''") "}",
        "{'model':{'type':null,'vocab':{'a':0},'merges':[]}}",
        "{" DECODER("'type':'Metaspace','replacement':'_','add_prefix_space':true") "}",
        "{" DECODER(
            "'type':'Metaspace','replacement':'_','add_prefix_space':false,'prepend_scheme':'never'") "}",
        "{" DECODER("'type':'Metaspace','replacement':'_','prepend_scheme':'always'") "}",
        "{" PRE_TOKENIZER(
            "'type':'Metaspace','replacement':'_','add_prefix_space':false,'prepend_scheme':'never'") "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) moe_tokenizer_close(tokenizers_good(texts[i]));
}

Test(tokenizer_types, strategies_of_padding) {
    tokenizers_refused("{'padding':{'pad_to_multiple_of':1}," PLAIN "}", MOE_E_UNSUPPORTED, "padding: ");
    tokenizers_refused("{'padding':{'strategy':'Longest'}," PLAIN "}", MOE_E_UNSUPPORTED, "padding: ");
}

Test(tokenizer_types, what_is_not_implemented) {
    tokenizers_refused("{" NORMALIZER("'type':'Prepend','prepend':''") "}", MOE_E_UNSUPPORTED,
                       "normalizer.prepend: the empty string");
    tokenizers_refused(
        "{'post_processor':{'type':'Sequence','processors':[{'type':'TemplateProcessing','single':[]},"
        "{'type':'TemplateProcessing','single':[]}]}," PLAIN "}",
        MOE_E_UNSUPPORTED, "post_processor.processors[1]: a second TemplateProcessing");
}

/* A token that would fill the message is cut. */
Test(tokenizer_types, long_names) {
    char text[500], name[201], what[160];
    memset(name, 'x', 200);
    name[200] = '\0';
    snprintf(text, sizeof text, "{" MERGES("['a','%s']") "}", name);
    snprintf(what, sizeof what, "model.merges[0]: \"%.100s\" is not in the vocabulary", name);
    tokenizers_refused(text, MOE_E_FORMAT, what);
    tokenizers_refused("{" MERGES("['a','xxx']") "}", MOE_E_FORMAT, "\"xxx\" is not in the vocabulary");
}
