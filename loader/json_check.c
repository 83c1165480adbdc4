#include "loader/json_check.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"
#include "loader/json.h"

struct scan {
    const char *at, *end;
    const char *fault; /* NULL while all is well */
    uint64_t objects;  /* bit d: the container at depth d is an object */
    unsigned depth;    /* containers open */
    size_t n_values;
};

_Static_assert(MOE_JSON_MAX_DEPTH <= 64, "the kinds of the open containers fit one word");

static bool fail(struct scan *s, const char *fault) {
    s->fault = s->at == s->end ? "unexpected end" : fault;
    return false;
}

static void skip_space(struct scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r')) s->at++;
}

static bool accept(struct scan *s, char c) {
    if (s->at == s->end || *s->at != c) return false;
    s->at++;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* At least one digit. */
static bool scan_digits(struct scan *s) {
    const char *begin = s->at;
    while (s->at < s->end && is_digit(*s->at)) s->at++;
    if (s->at == begin) return fail(s, "expected a digit");
    return true;
}

static bool scan_number(struct scan *s) {
    const char *begin = s->at;
    accept(s, '-');
    if (!accept(s, '0') && !scan_digits(s)) return false;
    if (accept(s, '.') && !scan_digits(s)) return false;
    if (accept(s, 'e') || accept(s, 'E')) {
        if (!accept(s, '+')) accept(s, '-');
        if (!scan_digits(s)) return false;
    }
    if (s->at - begin <= MOE_JSON_MAX_NUMBER_LENGTH) return true;
    s->at = begin;
    return fail(s, "number of more than 63 characters");
}

/* Four hexadecimal digits. */
static bool scan_hex(struct scan *s, unsigned *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        char c = s->at < s->end ? *s->at : '\0';
        unsigned digit = is_digit(c)            ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit == 16) return fail(s, "expected four hexadecimal digits after \\u");
        *unit = *unit << 4 | digit;
    }
    return true;
}

/* After "\u". NUL would end a C string early, half a surrogate pair is no character: both are refused. */
static bool scan_unicode_escape(struct scan *s) {
    const char *begin = s->at;
    unsigned unit, low;
    if (!scan_hex(s, &unit)) return false;
    bool pair = unit >= 0xd800 && unit < 0xdc00;
    if (pair) {
        pair = accept(s, '\\') && accept(s, 'u');
        if (pair && !scan_hex(s, &low)) return false;
        pair = pair && low >= 0xdc00 && low < 0xe000;
    }
    if (unit != 0 && (pair || unit < 0xd800 || unit >= 0xe000)) return true;
    s->at = begin;
    return fail(s, unit == 0 ? "\\u0000 is not supported" : "half a surrogate pair");
}

static bool scan_escape(struct scan *s) {
    if (accept(s, 'u')) return scan_unicode_escape(s);
    if (s->at == s->end || *s->at == '\0' || !strchr("\"\\/bfnrt", *s->at)) return fail(s, "unknown escape");
    s->at++;
    return true;
}

static bool scan_string(struct scan *s) {
    if (!accept(s, '"')) return fail(s, "expected a string");
    for (;;) {
        while (s->at < s->end && *s->at >= 0x20 && *s->at < 0x7f && *s->at != '"' && *s->at != '\\') s->at++;
        if (accept(s, '"')) return true;
        if (accept(s, '\\')) {
            if (!scan_escape(s)) return false;
            continue;
        }
        size_t length = moe_utf8_decode(NULL, s->at, (size_t)(s->end - s->at));
        if (length == 0) return fail(s, "invalid UTF-8");
        if ((unsigned char)*s->at < 0x20) return fail(s, "control character in a string");
        s->at += length;
    }
}

static bool scan_word(struct scan *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) return fail(s, "expected a value");
    s->at += n;
    return true;
}

static bool scan_key(struct scan *s) {
    skip_space(s);
    if (!scan_string(s)) return false;
    skip_space(s);
    if (!accept(s, ':')) return fail(s, "expected ':'");
    return true;
}

/* *open: a container was entered and its first value is next. */
static bool scan_value(struct scan *s, bool *open) {
    *open = false;
    skip_space(s);
    if (++s->n_values > MOE_JSON_MAX_VALUES) return fail(s, "too many values");
    char c = s->at < s->end ? *s->at : '\0';
    if (c == '"') return scan_string(s);
    if (c == 't') return scan_word(s, "true");
    if (c == 'f') return scan_word(s, "false");
    if (c == 'n') return scan_word(s, "null");
    if (c == '-' || is_digit(c)) return scan_number(s);
    if (c != '{' && c != '[') return fail(s, "expected a value");
    if (s->depth == MOE_JSON_MAX_DEPTH) return fail(s, "nested deeper than 64");
    s->at++;
    skip_space(s);
    if (accept(s, c == '{' ? '}' : ']')) return true;
    uint64_t bit = UINT64_C(1) << s->depth++;
    s->objects = c == '{' ? s->objects | bit : s->objects & ~bit;
    *open = true;
    return c == '[' || scan_key(s);
}

/* After a value inside containers: closes those that end here. *more: another value follows. */
static bool scan_after(struct scan *s, bool *more) {
    for (*more = false; s->depth > 0 && !*more;) {
        bool object = s->objects >> (s->depth - 1) & 1;
        skip_space(s);
        if (accept(s, object ? '}' : ']'))
            s->depth--;
        else if (!accept(s, ','))
            return fail(s, object ? "expected ',' or '}'" : "expected ',' or ']'");
        else if (object && !scan_key(s))
            return false;
        else
            *more = true;
    }
    return true;
}

const char *moe_json_check(size_t *offset, const char *text, size_t n) {
    struct scan s = {.at = text, .end = text + n};
    bool more = true;
    while (more && !s.fault)
        if (scan_value(&s, &more) && !more) scan_after(&s, &more);
    if (!s.fault) {
        skip_space(&s);
        if (s.at != s.end) fail(&s, "something after the value");
    }
    *offset = (size_t)(s.at - text);
    return s.fault;
}

const char *moe_json_skip_number(bool *natural, const char *at, const char *end) {
    for (; *at != '-' && !is_digit(*at); at++) {
        if (*at != '"') continue;
        for (at++; *at != '"'; at++)
            if (*at == '\\') at++;
    }
    struct scan digits = {.at = at, .end = end}, number = digits;
    scan_digits(&digits);
    scan_number(&number);
    *natural = digits.at == number.at;
    return number.at;
}
