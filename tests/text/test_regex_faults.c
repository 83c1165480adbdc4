/* Every allocation of a pattern's life, failing: those of the parser, for patterns of each kind, and PCRE2's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tests/check/faults.h"
#include "tests/loader/files.h"
#include "text/regex.h"
#include "text/regex_program.h"

/* ---- reading ------------------------------------------------------------------------------------------ */

static moe_status parse_body(void *context, moe_error *err) {
    struct moe_regex_program program;
    moe_status status = moe_regex_parse(&program, context, "here", err);
    cr_assert(status == MOE_OK || (program.items == NULL && program.sets == NULL));
    moe_regex_program_free(&program);
    return status;
}

/* Behind as many literals as it takes for each part of the pattern to be the one that an array grows for. */
static void check_parsing(const char *pattern, moe_status expected) {
    enum { CAPACITY = 16 };
    for (int n = 0; n <= CAPACITY; n++) {
        char text[200];
        snprintf(text, sizeof text, "%.*s%s", n, "ijklmnopqrstuvwxyz", pattern);
        faults_check(text, parse_body, text, expected);
    }
}

Test(regex_faults, syntax) {
    static const char *const patterns[] = {
        "a+b|c*?d",        "\\z\\A",           "\\R",    "^.$",       "(?m:.)\\N\\O",
        "(a)(?<n>b)(?=c)", "a{2}{3}b{1,2}{3}", "(?#c)a", "(?x) a # b"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) check_parsing(patterns[i], MOE_OK);
    check_parsing("(a", MOE_E_FORMAT);
    check_parsing("\\X", MOE_E_UNSUPPORTED);
}

/* Work enough by themselves. */
Test(regex_faults, classes) {
    static const char *const patterns[] = {
        "\\b\\B\\Z", "(?i)ab", "(?i:[a-c]k)", "(?i:[^a-z])", "\\w", "\\W", "\\s", "\\d", "\\h", "\\p{Lu}",
        "\\p{Han}", "\\p{Alpha}", "\\p{Alnum}", "\\p{Lower}", "\\p{Upper}", "\\p{Punct}", "\\p{Blank}",
        "\\p{ASCII}", "\\p{Print}", "\\p{Graph}", "\\P{L}", "[[:digit:]]", "[[:cntrl:]]", "[[:^word:]]",
        "[\\w]", "[a-c[x-z]]", "[a-c&&b-d]", "[a-c&&[^b]]", "[a&&b][c&&d]",
        /* as many ranges as arrays have room for at first, before the last one and with it */
        "[^acegikmoqsuwyACE]", "[acegikmoqsuwyACEG]",
        "[a-bd-eg-hj-km-np-qs-tv-wy-zA-BD-EG-HJ-KM-NP-QS-TV-WY-Z]",
        "[acegikmoqsuwyACEGIKMOQSUWY&&acegikmoqsuwyACEGIKMOQSUWY]"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s", patterns[i]);
        faults_check(text, parse_body, text, MOE_OK);
    }
}

/* ---- compiling and matching --------------------------------------------------------------------------- */

struct work {
    const char *pattern, *text;
};

static moe_status match_body(void *context, moe_error *err) {
    const struct work *work = context;
    struct moe_regex *regex;
    struct moe_regex_scan scan = {0};
    bool found = true;
    moe_status status = moe_regex_open(&regex, work->pattern, "here", err);
    cr_assert((regex != NULL) == (status == MOE_OK));
    if (status == MOE_OK) status = moe_regex_scan_begin(&scan, regex, work->text, strlen(work->text), err);
    while (status == MOE_OK && found) {
        size_t start, end;
        status = moe_regex_scan_next(&scan, &found, &start, &end, err);
    }
    moe_regex_scan_free(&scan);
    moe_regex_close(regex);
    return status;
}

/* What PCRE2 is given is put together piece by piece: its lengths let each piece be the one it grows for. */
Test(regex_faults, matching) {
    struct work works[] = {{"abcd[ab]", "xabca"}, {"abc[abcd]", "abca"}, {"abc[ab]", "abca"},
                           {"abcda{2}", "abcd"},  {"ab(?:c)d", "abcd"},  {"abcd(?:a)", "abcda"},
                           {"[a&&b]", "ab"}};
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        faults_check(works[i].pattern, match_body, &works[i], MOE_OK);
}

/* PCRE2 allocates out of reach of the others. */
static enum { NOTHING, CODE, CONTEXT, MATCH_DATA, MATCH } failing;

pcre2_code *__real_pcre2_compile_8(PCRE2_SPTR pattern, size_t n, uint32_t options, int *code, size_t *offset,
                                   pcre2_compile_context *context);
pcre2_match_context *__real_pcre2_match_context_create_8(pcre2_general_context *general);
pcre2_match_data *__real_pcre2_match_data_create_8(uint32_t n, pcre2_general_context *general);
int __real_pcre2_match_8(const pcre2_code *code, PCRE2_SPTR text, size_t n, size_t at, uint32_t options,
                         pcre2_match_data *match, pcre2_match_context *context);

#pragma GCC visibility push(default) /* Criterion, which uses PCRE2 too, is linked with these names as well  \
                                      */
pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR pattern, size_t n, uint32_t options, int *code, size_t *offset,
                                   pcre2_compile_context *context);
pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *general);
pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t n, pcre2_general_context *general);
int __wrap_pcre2_match_8(const pcre2_code *code, PCRE2_SPTR text, size_t n, size_t at, uint32_t options,
                         pcre2_match_data *match, pcre2_match_context *context);
#pragma GCC visibility pop

pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR pattern, size_t n, uint32_t options, int *code, size_t *offset,
                                   pcre2_compile_context *context) {
    if (failing != CODE) return __real_pcre2_compile_8(pattern, n, options, code, offset, context);
    *code = PCRE2_ERROR_HEAP_FAILED;
    return NULL;
}

pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *general) {
    return failing == CONTEXT ? NULL : __real_pcre2_match_context_create_8(general);
}

pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t n, pcre2_general_context *general) {
    return failing == MATCH_DATA ? NULL : __real_pcre2_match_data_create_8(n, general);
}

int __wrap_pcre2_match_8(const pcre2_code *code, PCRE2_SPTR text, size_t n, size_t at, uint32_t options,
                         pcre2_match_data *match, pcre2_match_context *context) {
    if (failing == MATCH) return PCRE2_ERROR_NOMEMORY;
    return __real_pcre2_match_8(code, text, n, at, options, match, context);
}

Test(regex_faults, pcre2) {
    struct work work = {"a+", "aab"};
    moe_error err;
    for (failing = CODE; failing <= MATCH; failing++) {
        cr_expect(match_body(&work, &err) == MOE_E_MEMORY, "%d", (int)failing);
        cr_expect(contains(err.message, "out of memory"), "%d: %s", (int)failing, err.message);
    }
    failing = NOTHING;
    cr_expect(match_body(&work, &err) == MOE_OK);
}
