/* The strict JSON reader: what it accepts, what it refuses and where, what typed reads say. */
#include "loader/json.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loader/file.h"
#include "tests/loader/files.h"

TestSuite(json, .init = files_begin, .fini = files_end);

static moe_status parse(struct moe_json *doc, const char *text, size_t n, moe_error *err) {
    char *exact = malloc(n + 1); /* nothing terminates it: a sanitizer sees a read past the end */
    cr_assert(exact != NULL);
    char *tight = exact + 1;
    memcpy(tight, text, n);
    moe_status status = moe_json_parse(doc, "f.json", tight, n, err);
    free(exact);
    return status;
}

static bool accepts(const char *text, size_t n, moe_error *err) {
    struct moe_json doc;
    moe_status status = parse(&doc, text, n, err);
    cr_assert(status == MOE_OK || status == MOE_E_FORMAT);
    if (status != MOE_OK) cr_assert(doc.root == NULL && doc.file == NULL);
    moe_json_close(&doc);
    return status == MOE_OK;
}

Test(json, accepts_what_rfc_8259_accepts) {
    static const char *const texts[] = {
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "0.5",
        "-0.5e-3",
        "1E+2",
        "1e2",
        "0e0",
        "1.25E-007",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\"",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        " [ ] ",
        "\t{\n}\r",
        "[[]]",
        "[{}]",
        "{\"\":{}}",
        "[1,2,3]",
        "[1 , 2]",
        "{\"a\":1,\"b\":2}",
        "{ \"a\" : [ { \"b\" : null } , true ] }",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0041\\u00e9\\uFFFF\\ufffe\"",
        "\"\\ud83d\\ude00\"",
        "\"\\uD800\\uDC00\"",
        "\"\\uDBFF\\uDFFF\"",
        "\"\x7f\"",
        "\"\xc2\x80\"",
        "\"\xdf\xbf\"",
        "\"\xe0\xa0\x80\"",
        "\"\xed\x9f\xbf\"",
        "\"\xee\x80\x80\"",
        "\"\xef\xbf\xbf\"",
        "\"\xf0\x90\x80\x80\"",
        "\"\xf4\x8f\xbf\xbf\"",
        "\"\xe2\x80\xa8\"",
        "{\"a\":1,\"A\":2}",
        "{\"a\":{\"a\":{\"a\":1}}}",
        "[{\"a\":1},{\"a\":1}]",
        "1e308",
        "4.9e-324",
        "1e-999",
        "111111111111111111111111111111111111111111111111111111111111111", /* 63 */
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        moe_error err = {{0}};
        cr_expect(accepts(texts[i], strlen(texts[i]), &err), "%s: %s", texts[i], err.message);
    }
}

Test(json, refuses_the_rest_and_says_where) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1, column 1: unexpected end"},
        {" \n ", "line 2, column 2: unexpected end"},
        {"\xef\xbb\xbf{}", "line 1, column 1: expected a value"},
        {"{}x", "line 1, column 3: something after the value"},
        {"{} {}", "column 4: something after the value"},
        {"{}\f", "column 3: something after the value"},
        {"\v{}", "column 1: expected a value"},
        {"01", "column 2: something after the value"},
        {"-", "column 2: unexpected end"},
        {"-01", "column 3: something"},
        {"+1", "column 1: expected a value"},
        {".5", "column 1: expected a value"},
        {"[-.5]", "column 3: expected a digit"},
        {"[1.]", "column 4: expected a digit"},
        {"[1.e5]", "column 4: expected a digit"},
        {"[1e]", "column 4: expected a digit"},
        {"[1e+]", "column 5: expected a digit"},
        {"[1e-", "column 5: unexpected end"},
        {"[0x10]", "column 3: expected ',' or ']'"},
        {"[1 2]", "column 4: expected ',' or ']'"},
        {"[1_000]", "expected ',' or ']'"},
        {"NaN", "expected a value"},
        {"[Infinity]", "column 2: expected a value"},
        {"[-Infinity]", "column 3: expected a digit"},
        {"nul", "expected a value"},
        {"tru", "expected a value"},
        {"falsE", "expected a value"},
        {"True", "expected a value"},
        {"nullx", "column 5: something after"},
        {"[", "column 2: unexpected end"},
        {"[1", "column 3: unexpected end"},
        {"[1,", "column 4: unexpected end"},
        {"[1,]", "column 4: expected a value"},
        {"[,1]", "column 2: expected a value"},
        {"[1}", "column 3: expected ',' or ']'"},
        {"]", "column 1: expected a value"},
        {"{", "column 2: unexpected end"},
        {"{\"a\"", "column 5: unexpected end"},
        {"{\"a\":", "column 6: unexpected end"},
        {"{\"a\":1", "column 7: unexpected end"},
        {"{\"a\":1,", "column 8: unexpected end"},
        {"{\"a\" 1}", "column 6: expected ':'"},
        {"{\"a\":1,}", "column 8: expected a string"},
        {"{,}", "column 2: expected a string"},
        {"{a:1}", "column 2: expected a string"},
        {"{'a':1}", "column 2: expected a string"},
        {"{1:1}", "column 2: expected a string"},
        {"{\"a\":1]", "column 7: expected ',' or '}'"},
        {"[/*c*/]", "column 2: expected a value"},
        {"\"", "column 2: unexpected end"},
        {"\"a", "column 3: unexpected end"},
        {"\"\\", "column 3: unexpected end"},
        {"\"\\x41\"", "column 3: unknown escape"},
        {"\"\\'\"", "column 3: unknown escape"},
        {"\"\\u12\"", "column 6: expected four hexadecimal digits"},
        {"\"\\u12g4\"", "column 6: expected four hexadecimal digits"},
        {"\"\\u12:4\"", "column 6: expected four hexadecimal digits"},
        {"\"\\u12@4\"", "column 6: expected four hexadecimal digits"},
        {"\"\\u12`4\"", "column 6: expected four hexadecimal digits"},
        {"\"\\u12G4\"", "column 6: expected four hexadecimal digits"},
        {"\"\\u1", "column 5: unexpected end"},
        {"\"\\u0000\"", "column 4: \\u0000 is not supported"},
        {"\"\\ud800\"", "column 4: half a surrogate pair"},
        {"\"\\udc00\"", "column 4: half a surrogate pair"},
        {"\"\\udfff\\ud800\"", "column 4: half a surrogate pair"},
        {"\"\\ud800\\n\"", "column 4: half a surrogate pair"},
        {"\"\\ud800\\ud800\"", "column 4: half a surrogate pair"},
        {"\"\\ud800\\u0041\"", "column 4: half a surrogate pair"},
        {"\"\\ud800\\ue000\"", "column 4: half a surrogate pair"},
        {"\"\\ud800\\u00", "unexpected end"},
        {"\"\n\"", "line 1, column 2: control character"},
        {"\"\t\"", "control character"},
        {"\"\x01\"", "control character"},
        {"\"\x80\"", "column 2: invalid UTF-8"},
        {"\"\xc0\x80\"", "invalid UTF-8"},
        {"\"\xc1\xbf\"", "invalid UTF-8"},
        {"\"\xe0\x9f\xbf\"", "invalid UTF-8"},
        {"\"\xf0\x8f\xbf\xbf\"", "invalid UTF-8"},
        {"\"\xed\xa0\x80\"", "invalid UTF-8"},
        {"\"\xed\xbf\xbf\"", "invalid UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "invalid UTF-8"},
        {"\"\xf5\x80\x80\x80\"", "invalid UTF-8"},
        {"\"\xc3\"", "invalid UTF-8"},
        {"\"\xe2\x82\"", "invalid UTF-8"},
        {"\"\xff\"", "invalid UTF-8"},
        {"\"\xc3", "invalid UTF-8"},
        {"[\xc3\xa9]", "column 2: expected a value"},
        {"{\"\xc3\xa9\":1 \"", "line 1, column 8: expected ',' or '}'"}, /* columns count characters */
        {"{\"a\":1,\n \"a\":2}", "f.json: a: duplicate key"},
        {"{\"a\":1,\"\\u0061\":2}", "f.json: a: duplicate key"},
        {"{\"\":1,\"\":2}", ": duplicate key"},
        {"{\"x\":[0,{\"y\":{\"k\":1,\"j\":2,\"k\":3}}]}", "f.json: x[1].y.k: duplicate key"},
        {"[1,1e999]", "f.json: [1]: number out of range"},
        {"{\"a\":{\"b\":-1e999}}", "f.json: a.b: number out of range"},
        {"1e999", "f.json: top level: number out of range"},
        {"[1111111111111111111111111111111111111111111111111111111111111111]",
         "column 2: number of more than 63"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_error err = {{0}};
        cr_expect(!accepts(cases[i].text, strlen(cases[i].text), &err), "accepted: %s", cases[i].text);
        cr_expect(contains(err.message, "f.json: "), "%s: %s", cases[i].text, err.message);
        cr_expect(contains(err.message, cases[i].message), "%s: \"%s\", expected \"%s\"", cases[i].text,
                  err.message, cases[i].message);
    }
}

Test(json, refuses_nul_bytes) {
    static const char inside[] = "\"a\0b\"", between[] = "{}\0", before[] = "\0{}", escape[] = "\"\\\0\"";
    moe_error err;
    cr_expect(!accepts(inside, sizeof inside - 1, &err) && contains(err.message, "control character"));
    cr_expect(!accepts(between, sizeof between - 1, &err) && contains(err.message, "something after"));
    cr_expect(!accepts(before, sizeof before - 1, &err) && contains(err.message, "expected a value"));
    cr_expect(!accepts(escape, sizeof escape - 1, &err) && contains(err.message, "unknown escape"));
}

/* Every prefix of a document is refused, and no byte past its end is read. */
Test(json, refuses_every_prefix) {
    static const char text[] =
        "{\"a\":[1.5e+3,true,null,false,-7],\"\\ud83d\\ude00\\n\xc3\xa9\":{\"b\":\"\\u00e9\"}}";
    moe_error err;
    for (size_t n = 0; n + 1 < sizeof text - 1; n++) cr_expect(!accepts(text, n, &err), "prefix of %zu", n);
    cr_expect(accepts(text, sizeof text - 1, &err), "%s", err.message);
}

/* `begin`, n times `part`, `end`. */
static char *repeat(const char *begin, const char *part, size_t n, const char *end) {
    char *text = malloc(strlen(begin) + n * strlen(part) + strlen(end) + 1), *at = text;
    cr_assert(text != NULL);
    at = stpcpy(at, begin);
    for (size_t i = 0; i < n; i++) at = stpcpy(at, part);
    stpcpy(at, end);
    return text;
}

Test(json, limits_depth) {
    moe_error err;
    char *open = repeat("", "[", 64, ""), *close = repeat("", "]", 64, ""), both[160];
    snprintf(both, sizeof both, "%s%s", open, close);
    cr_expect(accepts(both, strlen(both), &err), "%s", err.message);
    snprintf(both, sizeof both, "[%s%s]", open, close);
    cr_expect(!accepts(both, strlen(both), &err));
    cr_expect(contains(err.message, "column 65: nested deeper than 64"), "%s", err.message);
    free(open);
    free(close);
    char *bomb = repeat("", "{\"a\":", 1000000, "");
    cr_expect(!accepts(bomb, strlen(bomb), &err) && contains(err.message, "nested deeper"));
    free(bomb);
}

Test(json, limits_values) {
    moe_error err;
    char *text = repeat("[0", ",0", MOE_JSON_MAX_VALUES, "]");
    cr_expect(!accepts(text, strlen(text), &err) && contains(err.message, "too many values"), "%s",
              err.message);
    free(text);
}

/* A vocabulary's size: linear time, and duplicates are found whatever lies between them. */
Test(json, large_objects) {
    enum { N = 300000 };
    char *text = malloc(32 * N), *at = text;
    cr_assert(text != NULL);
    *at++ = '{';
    for (int i = 0; i < N; i++) at += sprintf(at, "\"token%d\":%d,", i, i);
    char *last = at;
    moe_error err;
    clock_t begin = clock();
    at[-1] = '}';
    cr_expect(accepts(text, (size_t)(at - text), &err), "%s", err.message);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_expect(seconds < 5, "%.2f s", seconds); /* quadratic would be minutes */
    at[-1] = ',';
    at = last + sprintf(last, "\"token17\":0}");
    cr_expect(!accepts(text, (size_t)(at - text), &err));
    cr_expect(contains(err.message, "token17: duplicate key"), "%s", err.message);
    free(text);
}

/* Few keys are compared in pairs, many through an index: the border between them. */
Test(json, duplicates_at_every_size) {
    for (int n = 2; n <= 40; n++)
        for (int twin = 0; twin < n; twin++) {
            char text[1000], *at = text;
            *at++ = '{';
            for (int i = 0; i < n; i++) at += sprintf(at, "\"k%d\":0,", i);
            moe_error err;
            at[-1] = '}';
            cr_expect(accepts(text, (size_t)(at - text), &err), "%d keys: %s", n, err.message);
            at[-1] = ',';
            at += sprintf(at, "\"k%d\":0}", twin);
            cr_expect(!accepts(text, (size_t)(at - text), &err), "%d keys, %d twice", n, twin);
        }
}

/* ---- typed reads -------------------------------------------------------------------------------------- */

static struct moe_json document(const char *text) {
    struct moe_json doc;
    moe_error err;
    cr_assert(moe_json_parse(&doc, "f.json", text, strlen(text), &err) == MOE_OK, "%s", err.message);
    return doc;
}

static void expect_message(const moe_error *err, const char *message) {
    cr_expect(strcmp(err->message, message) == 0, "\"%s\", expected \"%s\"", err->message, message);
}

Test(json, looks_up_exact_keys) {
    struct moe_json doc = document("{\"a\":1,\"A\":2,\"n\":null,\"o\":{\"b\":[true,null,\"x\"]},\"\":3}");
    struct moe_json_value root = moe_json_root(&doc), v;
    int64_t i;
    moe_error err;
    cr_expect(moe_json_int(&i, moe_json_get(root, "A"), 0, 9, &err) == MOE_OK && i == 2);
    cr_expect(moe_json_int(&i, moe_json_get(root, "a"), 0, 9, &err) == MOE_OK && i == 1);
    cr_expect(moe_json_int(&i, moe_json_get(root, ""), 0, 9, &err) == MOE_OK && i == 3);
    cr_expect(!moe_json_has(root, "B") && moe_json_get(root, "B").node == NULL);
    cr_expect(moe_json_has(root, "n") && moe_json_get(root, "n").node == NULL);
    cr_expect(!moe_json_has(moe_json_get(root, "a"), "x") &&
              moe_json_get(moe_json_get(root, "a"), "x").node == NULL);
    v = moe_json_get(moe_json_get(root, "none"), "deeper");
    cr_expect(v.node == NULL && moe_json_int(&i, v, 0, 9, &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: none.deeper: missing");
    v = moe_json_get(moe_json_get(root, "o"), "b");
    cr_expect(moe_json_is_array(v) && moe_json_size(v) == 3 && moe_json_size(root) == 5);
    cr_expect(moe_json_size(moe_json_get(root, "a")) == 0 && moe_json_size(moe_json_get(root, "z")) == 0);
    cr_expect(moe_json_is_object(moe_json_get(root, "o")) && !moe_json_is_object(v) &&
              !moe_json_is_array(root));
    cr_expect(!moe_json_is_object(moe_json_get(root, "z")));
    moe_json_close(&doc);
}

Test(json, iterates_in_order) {
    struct moe_json doc = document("{\"z\":[10,null,[1]],\"a\":{}}");
    struct moe_json_iterator it = {0}, inner = {0}, none = {0};
    struct moe_json_value v, e;
    const char *key;
    int64_t i;
    moe_error err;
    cr_assert(moe_json_next(&it, moe_json_root(&doc), &key, &v));
    cr_expect(strcmp(key, "z") == 0 && strcmp(v.path, "z") == 0);
    cr_assert(moe_json_next(&inner, v, &key, &e));
    cr_expect(key == NULL && strcmp(e.path, "z[0]") == 0 && moe_json_int(&i, e, 0, 10, &err) == MOE_OK &&
              i == 10);
    cr_assert(moe_json_next(&inner, v, &key, &e));
    cr_expect(e.node != NULL && moe_json_int(&i, e, 0, 10, &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: z[1]: expected an integer from 0 to 10, found null");
    cr_assert(moe_json_next(&inner, v, &key, &e));
    cr_expect(moe_json_is_array(e) && !moe_json_next(&inner, v, &key, &e) &&
              !moe_json_next(&inner, v, &key, &e));
    cr_assert(moe_json_next(&it, moe_json_root(&doc), &key, &v));
    cr_expect(strcmp(key, "a") == 0 && !moe_json_next(&none, v, &key, &e));
    cr_expect(!moe_json_next(&it, moe_json_root(&doc), &key, &v));
    none = (struct moe_json_iterator){0};
    cr_expect(!moe_json_next(&none, moe_json_get(moe_json_root(&doc), "absent"), &key, &e));
    moe_json_close(&doc);
}

Test(json, paths_stay_inside_their_room) {
    char text[3000], *at = text;
    for (int i = 0; i < 40; i++) at += sprintf(at, "{\"a_rather_long_key_%d\":[0,1,2,3,4,5,6,7,8,9,10,", i);
    at -= 1;
    for (int i = 0; i < 40; i++) at += sprintf(at, "]}");
    *at = '\0';
    struct moe_json doc;
    moe_error err;
    cr_expect(moe_json_parse(&doc, "f.json", text, strlen(text), &err) == MOE_E_FORMAT); /* 80 deep */
    char *flat = repeat("{\"", "k", 300, "\":[[\"x\"]]}");
    doc = document(flat);
    free(flat);
    struct moe_json_iterator a = {0}, b = {0}, c = {0};
    struct moe_json_value v, w, x;
    const char *key;
    int64_t i;
    cr_assert(moe_json_next(&a, moe_json_root(&doc), &key, &v) && moe_json_next(&b, v, &key, &w));
    cr_assert(moe_json_next(&c, w, &key, &x));
    cr_expect(strlen(x.path) == sizeof x.path - 1);
    cr_expect(moe_json_int(&i, x, 0, 1, &err) == MOE_E_FORMAT &&
              contains(err.message, "kkk: expected an integer"));
    moe_json_close(&doc);
}

Test(json, paths_count_elements) {
    struct moe_json doc = document("[0,1,2,3,4,5,6,7,8,9,10,11,12]");
    struct moe_json_iterator it = {0};
    struct moe_json_value v;
    char path[16];
    for (int i = 0; moe_json_next(&it, moe_json_root(&doc), NULL, &v); i++) {
        snprintf(path, sizeof path, "[%d]", i);
        cr_expect(strcmp(v.path, path) == 0, "%s", v.path);
    }
    moe_json_close(&doc);
}

Test(json, integers_are_exact) {
    static const struct {
        const char *text;
        bool integer, natural;
        int64_t value;
    } cases[] = {
        {"0", true, true, 0},
        {"7", true, true, 7},
        {"-7", true, false, -7},
        {"3.0", true, false, 3},
        {"3e2", true, false, 300},
        {"-0", true, false, 0},
        {"30e-1", true, false, 3},
        {"3.5", false, false, 0},
        {"1e40", false, false, 0},
        {"1e-3", false, false, 0},
        {"\"3\"", false, false, 0},
        {"true", false, false, 0},
        {"null", false, false, 0},
        {"[3]", false, false, 0},
        {"{}", false, false, 0},
        {"2147483648", true, true, INT64_C(2147483648)},
        {"9007199254740991", true, true, INT64_C(9007199254740991)},
        {"-9007199254740991", true, false, INT64_C(-9007199254740991)},
        {"9007199254740992", false, false, 0},
        {"9007199254740993", false, false, 0},
        {"-9007199254740992", false, false, 0},
        {"18446744073709551616", false, false, 0},
        {"18446744073709551619", false, false, 0},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char text[100];
        snprintf(text, sizeof text, "{\"s\":\"-12 \\\" 5\",\"v\":%s}", cases[c].text);
        struct moe_json doc = document(text);
        struct moe_json_value v = moe_json_get(moe_json_root(&doc), "v");
        int64_t i = 99;
        size_t n = 99;
        moe_error err;
        moe_status status = moe_json_int(&i, v, INT64_MIN, INT64_MAX, &err);
        cr_expect(status == (cases[c].integer ? MOE_OK : MOE_E_FORMAT), "%s", cases[c].text);
        cr_expect(i == (cases[c].integer ? cases[c].value : 99), "%s", cases[c].text);
        status = moe_json_natural(&n, v, &err);
        cr_expect(status == (cases[c].natural ? MOE_OK : MOE_E_FORMAT), "%s", cases[c].text);
        cr_expect(n == (cases[c].natural ? (size_t)cases[c].value : 99), "%s", cases[c].text);
        moe_json_close(&doc);
    }
}

Test(json, integers_keep_their_range) {
    struct moe_json doc = document("[5,-5]");
    struct moe_json_iterator it = {0};
    struct moe_json_value v, w;
    const char *key;
    int64_t i;
    moe_error err;
    cr_assert(moe_json_next(&it, moe_json_root(&doc), &key, &v) &&
              moe_json_next(&it, moe_json_root(&doc), &key, &w));
    cr_expect(moe_json_int(&i, v, 5, 5, &err) == MOE_OK && moe_json_int(&i, w, -5, -5, &err) == MOE_OK);
    cr_expect(moe_json_int(&i, v, 6, 9, &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: [0]: expected an integer from 6 to 9, found 5");
    cr_expect(moe_json_int(&i, w, -4, 9, &err) == MOE_E_FORMAT &&
              moe_json_int(&i, v, -9, 4, &err) == MOE_E_FORMAT);
    cr_expect(moe_json_int(&i, v, 6, 9, NULL) == MOE_E_FORMAT);
    moe_json_close(&doc);
}

Test(json, typed_reads_name_what_they_found) {
    struct moe_json doc =
        document("{\"n\":1.5,\"t\":true,\"f\":false,\"s\":\"tab\\there\",\"a\":[],\"o\":{},\"e\":-2.5e-3}");
    struct moe_json_value root = moe_json_root(&doc);
    const char *s;
    double d;
    bool b;
    moe_error err;
    cr_expect(moe_json_number(&d, moe_json_get(root, "n"), &err) == MOE_OK && d == 1.5);
    cr_expect(moe_json_number(&d, moe_json_get(root, "e"), &err) == MOE_OK && d == -2.5e-3);
    cr_expect(moe_json_bool(&b, moe_json_get(root, "t"), &err) == MOE_OK && b);
    cr_expect(moe_json_bool(&b, moe_json_get(root, "f"), &err) == MOE_OK && !b);
    cr_expect(moe_json_string(&s, moe_json_get(root, "s"), &err) == MOE_OK && strcmp(s, "tab\there") == 0);
    cr_expect(moe_json_is_number(moe_json_get(root, "n")) && moe_json_is_bool(moe_json_get(root, "t")) &&
              moe_json_is_string(moe_json_get(root, "s")));
    cr_expect(moe_json_number(&d, moe_json_get(root, "s"), &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: s: expected a number, found \"tab?here\"");
    cr_expect(moe_json_bool(&b, moe_json_get(root, "n"), &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: n: expected true or false, found 1.5");
    cr_expect(moe_json_string(&s, moe_json_get(root, "a"), &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: a: expected a string, found an array");
    cr_expect(moe_json_string(&s, moe_json_get(root, "o"), &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: o: expected a string, found an object");
    cr_expect(moe_json_string(&s, moe_json_get(root, "t"), &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: t: expected a string, found true");
    cr_expect(moe_json_number(&d, moe_json_get(root, "f"), &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: f: expected a number, found false");
    cr_expect(moe_json_string(&s, root, &err) == MOE_E_FORMAT);
    expect_message(&err, "f.json: top level: expected a string, found an object");
    moe_json_close(&doc);
}

/* Numbers are read the same whatever decimal point the process and the thread have. */
Test(json, ignores_the_locale) {
    char command[600];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s' >/dev/null 2>&1",
             files_path("de_DE.UTF-8"));
    if (system(command) != 0 || setenv("LOCPATH", files_path(""), 1) != 0 ||
        !setlocale(LC_ALL, "de_DE.UTF-8"))
        cr_skip_test("no localedef here to make a locale with a decimal comma");
    cr_assert(strcmp(localeconv()->decimal_point, ",") == 0 && strtod("1,5", NULL) == 1.5);
    struct moe_json doc = document("[1.5,-2.25e-1]");
    struct moe_json_iterator it = {0};
    struct moe_json_value v;
    const char *key;
    double d = 0;
    moe_error err;
    cr_expect(moe_json_next(&it, moe_json_root(&doc), &key, &v) && moe_json_number(&d, v, &err) == MOE_OK &&
              d == 1.5);
    cr_expect(moe_json_next(&it, moe_json_root(&doc), &key, &v) && moe_json_number(&d, v, &err) == MOE_OK);
    cr_expect(d == -0.225);
    cr_expect(!accepts("[1,5e]", 6, &err) && !accepts("[1,,5]", 6, &err));
    cr_expect(strcmp(localeconv()->decimal_point, ",") == 0, "the thread's locale was not put back");
    moe_json_close(&doc);
}

/* ---- files -------------------------------------------------------------------------------------------- */

Test(json, tells_a_file_that_shrinks) {
    char bytes[10];
    size_t n;
    int fd;
    moe_error err;
    files_text("f", "12345");
    cr_assert(moe_file_open(&fd, &n, files_path("f"), &err) == MOE_OK && n == 5);
    cr_expect(moe_file_read(fd, bytes, 5, 0, "f", &err) == MOE_OK && memcmp(bytes, "12345", 5) == 0);
    cr_expect(moe_file_read(fd, bytes, 2, 3, "f", &err) == MOE_OK && memcmp(bytes, "45345", 5) == 0);
    cr_expect(moe_file_read(fd, bytes, 6, 0, "f", &err) == MOE_E_IO);
    expect_message(&err, "f: became shorter while it was read");
    close(fd);
}

Test(json, opens_files) {
    struct moe_json doc;
    moe_error err;
    files_text("a.json", "{\"k\":5}");
    cr_expect(moe_json_open(&doc, files_path("a.json"), 7, &err) == MOE_OK &&
              strcmp(doc.file, files_path("a.json")) == 0);
    moe_json_close(&doc);
    cr_expect(moe_json_open(&doc, files_path("a.json"), 6, &err) == MOE_E_FORMAT && doc.root == NULL);
    cr_expect(contains(err.message, "a.json: 7 bytes, expected at most 6"), "%s", err.message);
    files_text("empty.json", "");
    cr_expect(moe_json_open(&doc, files_path("empty.json"), 6, &err) == MOE_E_FORMAT);
    cr_expect(contains(err.message, "unexpected end"), "%s", err.message);
    cr_expect(moe_json_open(&doc, files_path("none.json"), 6, &err) == MOE_E_IO && doc.root == NULL);
    cr_expect(contains(err.message, "none.json: cannot be opened: No such file"), "%s", err.message);
    cr_expect(moe_json_open(&doc, files_path(""), 6, &err) == MOE_E_IO &&
              contains(err.message, "is a directory"));
    cr_assert(mkfifo(files_path("fifo"), 0600) == 0 && symlink("fifo", files_path("link")) == 0);
    cr_expect(moe_json_open(&doc, files_path("fifo"), 6, &err) == MOE_E_IO &&
              contains(err.message, "no regular file"));
    cr_expect(moe_json_open(&doc, files_path("link"), 6, &err) == MOE_E_IO &&
              contains(err.message, "no regular file"));
    cr_expect(moe_json_open(&doc, "/dev/zero", 6, &err) == MOE_E_IO &&
              contains(err.message, "no regular file"));
    cr_assert(symlink("loop", files_path("loop")) == 0);
    cr_expect(moe_json_open(&doc, files_path("loop"), 6, &err) == MOE_E_IO &&
              contains(err.message, "loop: cannot"));
    if (geteuid() != 0) {
        cr_assert(chmod(files_path("a.json"), 0) == 0);
        cr_expect(moe_json_open(&doc, files_path("a.json"), 9, &err) == MOE_E_IO);
    }
}
