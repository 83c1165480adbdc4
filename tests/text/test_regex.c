/* How patterns are read: what the reference's syntax means where PCRE2's means something else, and what is
 * refused. The expected spans are the reference's own (fuzz_regex.py compares many more). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/loader/files.h"
#include "text/characters.h"
#include "text/regex.h"

static void check_matches(const char *pattern, const char *text, const char *want) {
    struct moe_regex *regex;
    struct moe_regex_scan scan = {0};
    moe_error err;
    char got[512] = "";
    moe_status status = moe_regex_open(&regex, pattern, "here", &err);
    cr_assert(status == MOE_OK, "%s", err.message);
    cr_assert(moe_regex_scan_begin(&scan, regex, text, strlen(text), &err) == MOE_OK);
    for (bool found = true; found;) {
        size_t start, end;
        cr_assert(moe_regex_scan_next(&scan, &found, &start, &end, &err) == MOE_OK);
        if (!found) break;
        size_t n = strlen(got);
        snprintf(got + n, sizeof got - n, "%zu-%zu ", start, end);
    }
    cr_expect_str_eq(got, want, "%s on \"%s\": %s, expected %s", pattern, text, got, want);
    moe_regex_scan_free(&scan);
    moe_regex_close(regex);
}

Test(regex, classes_are_of_unicode_16) {
    check_matches("\\p{L}", "\xe1\xb2\x89", "0-3 ");                   /* U+1C89, of 16 */
    check_matches("\\p{L}", "\xea\x9f\x8e", "");                       /* U+A7CE, of 17 */
    check_matches("\\s", "\x1c\x1f \xc2\x85\xc2\xa0", "2-3 3-5 5-7 "); /* not 1C to 1F */
    check_matches("\\w", "\xc2\xb2", "0-2 ");                          /* U+00B2 alone, but not in a class */
    check_matches("[\\w]", "\xc2\xb2", "");
    check_matches("\\p{Punct}", "$", "");
    check_matches("[[:punct:]]", "$", "0-1 ");
    check_matches("\\p{Han}+", "a\xe6\xbc\xa2\xe5\xad\x97", "1-7 ");
    check_matches("\\p{ lowercase_LETTER }\\p{Lowercase-Letter}", "aaA", "0-2 ");
    check_matches("\\p{Whitespace}\\p{Alphabetic}\\p{Uppercase}\\p{Lowercase}", " aBc", "0-4 ");
}

Test(regex, set_operations) {
    check_matches("[a-z&&[^c]]+", "abcd", "0-2 3-4 ");
    check_matches("[^a-c&&b-d]+", "abcde", "0-1 3-5 ");
    check_matches("[a&&]", "a&", "");
    check_matches("[a[bc]d]+", "xabcd", "1-5 ");
    check_matches("[]a]+", "]a[", "0-2 ");
    check_matches("[a-]+", "a-b", "0-2 ");
    check_matches("[\\p{L}&&\\p{Lu}]", "aB", "1-2 ");
    check_matches("[^a[b]]", "abc", "2-3 ");
    check_matches("[!-&]", "%'", "0-1 ");
    check_matches("[a&&b][c&&d]|x", "acx", "2-3 ");
    check_matches("[[:a]]+", "b:a", "1-3 "); /* a class of two, for it is no name */
    check_matches("[[:alpha]]+", "xa:p", "1-4 ");
    check_matches("[[:alpha:x]]+", "a:xy", "0-3 ");
}

Test(regex, anchors_are_those_of_lines) {
    check_matches("\\s+$", "a  \nb  ", "1-3 5-7 ");
    check_matches("^a", "a\na\n", "0-1 2-3 ");
    check_matches("^", "a\n", "0-0 ");
    check_matches("$", "a\n", "1-1 2-2 ");
    check_matches("\\Aa", "aa\na", "0-1 ");
    check_matches("a\\Z", "a\na\n", "2-3 ");
    check_matches(".", "a\nb", "0-1 2-3 ");
    check_matches("(?m:.)", "a\n", "0-1 1-2 ");
    check_matches("\\bb", "ab b", "3-4 ");
}

Test(regex, case_is_folded) {
    check_matches("(?i:'s|'t)", "'S'\xc5\xbf'T", "0-2 2-5 5-7 "); /* U+017F folds to s */
    check_matches("(?i:k)", "K\xe2\x84\xaa", "0-1 1-4 ");
    check_matches("(?i:[^k])", "kK\xe2\x84\xaax", "5-6 ");
    check_matches("a(?i)b|c", "aB C aC", "0-2 5-7 "); /* the option lasts over the branches */
    check_matches("(?i:\\p{Lu})", "aA", "1-2 ");      /* a class alone is not folded, */
    check_matches("(?i:[A-Z])", "aA1", "0-1 1-2 ");   /* one in brackets is */
    check_matches("(?i:abcd)", "xABcD", "1-5 ");
    check_matches("(?i-i:a)(?-i)b", "abAB", "0-2 ");
    check_matches("(?i:\xf0\x9f\x98\x80z)", "\xf0\x9f\x98\x80Z", "0-5 "); /* beyond all that has a case */
}

Test(regex, quantifiers) {
    check_matches("a{1,3}+", "aaaaaaa", "0-7 "); /* not possessive */
    check_matches("a{2}?", "aaa", "0-2 3-3 ");   /* not lazy */
    check_matches("a{,2}b", "aaab", "1-4 ");
    check_matches("a{2,3}?", "aaaa", "0-2 2-4 ");
    check_matches("a{x}", "a{x}", "0-4 ");
    check_matches("a{,}", "a{,}", "0-4 ");
    check_matches("a{1x", "a{1x", "0-4 ");
    check_matches("a{1,2x", "a{1,2x", "0-6 ");
    check_matches("a{2,}", "aaa", "0-3 ");
    check_matches("(?:a*)?b", "aab", "0-3 ");
    check_matches("a++a|b", "aab", "2-3 ");
    check_matches("(?>[a-c].+?)(?<=c)", "abc", "1-3 "); /* lost by PCRE2 10.42 with its optimizations */
    check_matches("b*(?:Ea)?+[a-z]", "b", "0-1 ");
}

Test(regex, empty_matches) {
    check_matches("a|", "ba", "0-0 1-2 ");
    check_matches("", "ab", "0-0 1-1 2-2 ");
    check_matches("\\w*", "ab c", "0-2 3-4 ");
}

Test(regex, syntax) {
    check_matches("(?x) a b # c\n|d", "ab d", "0-2 3-4 ");
    check_matches("a(?#comment)+", "aa", "0-2 ");
    check_matches("(?<name>a)(b)", "ab", "0-2 ");
    check_matches("(?'n'a)", "a", "0-1 ");
    check_matches("\\R", "\r\n\n", "0-2 2-3 ");
    check_matches("\\N\\O", "\na\n", "1-3 ");
    check_matches("\\Bb", "ab b", "1-2 ");
    check_matches("\\h+\\H", "fg", "0-2 ");
    check_matches("\\uE000", "\xee\x80\x80", "0-3 ");
    check_matches("\\x41\\x{42}\\u0043\\t\\e", "ABC\t\033", "0-5 ");
    check_matches("\\{\\|\\~a\\z", "{|~a", "0-4 ");
    check_matches("[\\b\\n]", "\b", "0-1 ");
    check_matches("[[:^alpha:]]", "a1", "1-2 ");
    check_matches("[[:digit:][:upper:]]+", "aB1", "1-3 ");
    check_matches("[[:print:]]&&[[:graph:]]", "a&&b", "0-4 ");
    check_matches("[[:blank:][:cntrl:]]", "a\t", "1-2 ");
    check_matches("[[:alnum:][:space:]]", "-1 ", "1-2 2-3 ");
    check_matches("[[:lower:]][[:xdigit:]][[:ascii:]]", "aFz", "0-3 ");
    check_matches("\\P{^Lu}\\p{^Lu}", "Aa", "0-2 ");
    check_matches("(?<=a|bc)d", "ad bcd d", "1-2 5-6 ");
}

/* More than just-in-time code has stack for: the interpreter takes over. */
Test(regex, deep) {
    enum { N = 60000 };
    char *text = malloc(N + 2), want[32];
    memset(text, 'a', N);
    memcpy(text + N, "c", 2);
    snprintf(want, sizeof want, "0-%d ", N + 1);
    check_matches("(?:ab|a)+c", text, want);
    free(text);
}

Test(regex, refused) {
    static const struct {
        const char *pattern, *what;
    } cases[] = {{"(a)\\1", "\\1 is not known"},
                 {"\\X", "\\X is not known"},
                 {"a\\K", "\\K is not known"},
                 {"\\G", "\\G is not known"},
                 {"(?<n>a)\\k<n>", "\\k is not known"},
                 {"\\p{Emoji}", "class \"Emoji\" is not known"},
                 {"\\p{Script=Han}", "class \"Script=Han\" is not known"},
                 {"[[:foo:]]", "class \"foo\" is not known"},
                 {"\\p{L", "without }"},
                 {"(?~a)", "a group of this kind"},
                 {"(?(1)a)", "a group of this kind"},
                 {"(?{x})", "a group of this kind"},
                 {"(*FAIL)", "(*...)"},
                 {"(?i:ss)", "under (?i)"},
                 {"(?i:\xc3\x9f)", "under (?i)"},
                 {"(?i:[\xc3\x9f])", "under (?i)"},
                 {"(?i:f(?:i))", "under (?i)"},
                 {"[\\d-x]", "a '-' beside a class"},
                 {"[z-a]", "ends before it begins"},
                 {"[a-c-e]", "right after a range"},
                 {"[^a[^b]]", "a negative class inside a negative class"},
                 {"[a", "without its ']'"},
                 {"[a-", "without its ']'"},
                 {"[[", "without its ']'"},
                 {"[[:", "without its ']'"},
                 {"[[:^", "without its ']'"},
                 {"[a-[b]]", "a '-' beside a class or &&"},
                 {"[a-&&b]", "a '-' beside a class or &&"},
                 {"[a-\\R]", "an escape inside a class"},
                 {"[a-\\d]", "a class at the end of a range"},
                 {"(a", "without its ')'"},
                 {"a)", "without its '('"},
                 {"*a", "nothing before it"},
                 {"+a", "nothing before it"},
                 {"?a", "nothing before it"},
                 {"{1}a", "nothing before it"},
                 {"(?=a)*", "cannot be repeated"},
                 {"a+?+", "a quantifier of a quantifier"},
                 {"(?:a*)*", "can match nothing"},
                 {"a{3,1}", "n above m"},
                 {"a{1234567}", "number too big"},
                 {"a{1,12345678901234567890}", "number too big"},
                 {"\\xe3", "means a byte"},
                 {"\\xg", "\\x without digits"},
                 {"\\x{}", "\\x{...} of this form"},
                 {"\\x{G}", "\\x{...} of this form"},
                 {"\\x{41", "\\x{...} of this form"},
                 {"\\uD800", "no character"},
                 {"\\pL", "\\p is not known"},
                 {"\\p{a name that is longer than any of a class}", "is not known"},
                 {"\\p{Ein Name, der l\xc3\xa4nger ist als der Platz, den eine Meldung daf\xc3\xbcr hat}",
                  "is not known"},
                 {"(?<n", "a group's name without its end"},
                 {"(?'n", "a group's name without its end"},
                 {"(?<>a)", "a group's name without its end"},
                 {"(?#c", "a comment without its ')'"},
                 {"a(?#c", "a comment without its ')'"},
                 {"(?", "a group of this kind"},
                 {"\\x{110000}", "no character"},
                 {"\\u12", "four digits"},
                 {"(?<=a+)b", "lookbehind"},
                 {"a\\", "ends in a backslash"},
                 {"[\\R]", "an escape inside a class"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct moe_regex *regex = (struct moe_regex *)cases;
        moe_error err = {""};
        moe_status status = moe_regex_open(&regex, cases[i].pattern, "here", &err);
        cr_expect(status == MOE_E_UNSUPPORTED || status == MOE_E_FORMAT, "%s: status %d", cases[i].pattern,
                  (int)status);
        cr_expect(regex == NULL);
        cr_expect(contains(err.message, cases[i].what), "%s: %s", cases[i].pattern, err.message);
        cr_expect(contains(err.message, "here: regular expression "), "%s", err.message);
    }
}

/* 300 classes, each of two code points that no other has: more kinds than a byte counts. */
Test(regex, too_many_kinds) {
    char pattern[300 * 24 + 1] = "";
    struct moe_regex *regex;
    moe_error err;
    for (unsigned i = 0, n = 0; i < 300; i++)
        n += (unsigned)sprintf(pattern + n, "|[\\x{%x}\\x{%x}]", 0x4e00 + 4 * i, 0x4e02 + 4 * i);
    cr_expect(moe_regex_open(&regex, pattern, "here", &err) == MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "256 kinds"), "%s", err.message);
}

/* 1025 literals, no two of them the same. */
Test(regex, too_many_classes) {
    char pattern[1025 * 3 + 1] = "";
    struct moe_regex *regex;
    moe_error err;
    for (uint32_t i = 0, n = 0; i < 1025; i++) n += (uint32_t)moe_char_encode(pattern + n, 0x4e00 + i);
    cr_expect(moe_regex_open(&regex, pattern, "here", &err) == MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "too many different classes"), "%s", err.message);
}

Test(regex, too_deep) {
    char pattern[600];
    struct moe_regex *regex;
    moe_error err;
    memset(pattern, '(', 299);
    memset(pattern + 299, ')', 299);
    pattern[598] = '\0';
    cr_expect(moe_regex_open(&regex, pattern, "here", &err) == MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "nested too deep"), "%s", err.message);
    for (int i = 0; i < 66; i++) memcpy(pattern + 4 * i, "(?i)", 5);
    cr_expect(moe_regex_open(&regex, pattern, "here", &err) == MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "nested too deep"), "%s", err.message);
    memset(pattern, '[', 598);
    cr_expect(moe_regex_open(&regex, pattern, "here", &err) == MOE_E_UNSUPPORTED);
}

/* A pattern that would never end says so instead. */
Test(regex, gives_up) {
    struct moe_regex *regex;
    struct moe_regex_scan scan = {0};
    moe_error err;
    bool found;
    size_t start, end;
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    cr_assert(moe_regex_open(&regex, "(?:a+|b)+(?:a+|b)+(?:a+|b)+c", "here", &err) == MOE_OK);
    cr_assert(moe_regex_scan_begin(&scan, regex, text, strlen(text), &err) == MOE_OK);
    cr_expect(moe_regex_scan_next(&scan, &found, &start, &end, &err) == MOE_E_UNSUPPORTED);
    cr_expect(contains(err.message, "too many steps"), "%s", err.message);
    moe_regex_scan_free(&scan);
    moe_regex_close(regex);
}
