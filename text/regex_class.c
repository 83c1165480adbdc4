/* Characters and classes of a pattern. A class becomes the set of its code points: nested classes,
 * intersections and complements are worked out here, so that PCRE2, which reads some of them differently,
 * sees none. */
#include <stdio.h>
#include <string.h>

#include "text/regex_syntax.h"
#include "text/unicode.h"
#include "text/characters.h"

moe_status moe_regex_refuse(const struct moe_regex_parser *p, moe_status status, const char *what) {
    return MOE_FAIL(p->err, status, "%s: regular expression %.160s%s: %s", p->where, p->pattern,
                    strlen(p->pattern) > 160 ? "..." : "", what);
}

moe_status moe_regex_no_memory(const struct moe_regex_parser *p) {
    return MOE_FAIL(p->err, MOE_E_MEMORY, "%s: out of memory", p->where);
}

uint32_t moe_regex_take(struct moe_regex_parser *p) {
    uint32_t c;
    p->p += moe_char_decode(&c, p->p);
    return c;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Up to `max` hexadecimal digits. */
static size_t take_hex(struct moe_regex_parser *p, uint32_t *value, size_t max) {
    size_t n = 0;
    *value = 0;
    while (n < max && hex_value(*p->p) >= 0) {
        *value = *value << 4 | (uint32_t)hex_value(*p->p++);
        n++;
    }
    return n;
}

/* \xHH, \x{H...}, \uHHHH; p->p is past the letter. */
static moe_status take_number(struct moe_regex_parser *p, char letter, uint32_t *literal) {
    size_t digits;
    if (letter == 'x' && *p->p == '{') {
        p->p++;
        digits = take_hex(p, literal, 7);
        if (digits == 0 || *p->p != '}')
            return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "\\x{...} of this form");
        p->p++;
    } else if (letter == 'x') {
        digits = take_hex(p, literal, 2);
        if (digits == 0) return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "\\x without digits");
        if (*literal >= 0x80)
            return moe_regex_refuse(p, MOE_E_UNSUPPORTED,
                                    "\\xHH above 7F, which means a byte, not a character");
    } else {
        digits = take_hex(p, literal, 4);
        if (digits < 4) return moe_regex_refuse(p, MOE_E_FORMAT, "\\u without four digits");
    }
    if (*literal > MOE_MAX_CODE_POINT || (*literal >= 0xD800 && *literal < 0xE000))
        return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a number that is no character");
    return MOE_OK;
}

static moe_status add_class(struct moe_regex_parser *p, struct moe_charset *set, const char *name, size_t n,
                            enum moe_class_place place, bool negative) {
    struct moe_charset class = {0};
    moe_status status = moe_unicode_add_class(&class, name, n, place);
    if (status == MOE_OK && ((negative && !moe_charset_invert(&class)) || !moe_charset_add_set(set, &class)))
        status = MOE_E_MEMORY;
    moe_charset_free(&class);
    if (status == MOE_E_MEMORY) return moe_regex_no_memory(p);
    if (status == MOE_OK) return MOE_OK;
    char what[96];
    int shown = n > 60 ? 60 : (int)n;
    snprintf(what, sizeof what, "class \"%.*s\" is not known here", shown, name);
    return moe_regex_refuse(p, status, what);
}

/* \p{Name}, \p{^Name}, \P{Name}; p->p is past the letter. */
static moe_status take_property(struct moe_regex_parser *p, struct moe_charset *set, bool negative,
                                enum moe_class_place place) {
    p->p++;
    if (*p->p == '^') {
        negative = !negative;
        p->p++;
    }
    const char *name = p->p, *end = strchr(name, '}');
    if (!end) return moe_regex_refuse(p, MOE_E_FORMAT, "\\p{ without }");
    p->p = end + 1;
    return add_class(p, set, name, (size_t)(end - name), place, negative);
}

moe_status moe_regex_escape(struct moe_regex_parser *p, struct moe_charset *set, bool *is_literal,
                            uint32_t *literal, bool *known, bool in_class) {
    static const char controls[] = "t\tn\nr\rf\fv\va\ae\033";
    enum moe_class_place place = in_class ? MOE_CLASS_IN_SET : MOE_CLASS_ALONE;
    char c = *p->p;
    *known = true;
    *is_literal = false;
    if (c == '\0') return moe_regex_refuse(p, MOE_E_FORMAT, "ends in a backslash");
    for (size_t i = 0; i + 1 < sizeof controls; i += 2) {
        if (c != controls[i]) continue;
        p->p++;
        *is_literal = true;
        *literal = (unsigned char)controls[i + 1];
        return MOE_OK;
    }
    if ((c == 'p' || c == 'P') && p->p[1] == '{') {
        p->p++;
        return take_property(p, set, c == 'P', place);
    }
    if (c == 'x' || c == 'u') {
        p->p++;
        *is_literal = true;
        return take_number(p, c, literal);
    }
    p->p++;
    switch (c) {
    case 'w':
    case 'W':
        return add_class(p, set, "word", 4, place, c == 'W');
    case 's':
    case 'S':
        return add_class(p, set, "space", 5, place, c == 'S');
    case 'd':
    case 'D':
        return add_class(p, set, "nd", 2, place, c == 'D');
    case 'h':
    case 'H':
        return add_class(p, set, "xdigit", 6, place, c == 'H');
    default:
        break;
    }
    p->p--;
    if (in_class && c == 'b') {
        p->p++;
        *is_literal = true;
        *literal = '\b';
        return MOE_OK;
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool digit = c >= '0' && c <= '9';
    if (letter || digit) {
        *known = false;
        return MOE_OK;
    }
    *is_literal = true;
    *literal = moe_regex_take(p);
    return MOE_OK;
}

/* ---- classes ------------------------------------------------------------------------------------------ */

/* What a class is made of. */
struct element {
    bool is_literal; /* one code point, which may begin or end a range */
    uint32_t literal;
};

/* [:name:] or [:^name:] if that is what is here; p->p is at its '['. */
static moe_status take_bracket(struct moe_regex_parser *p, struct moe_charset *set, bool *found) {
    *found = false;
    if (p->p[1] != ':') return MOE_OK;
    const char *name = p->p + 2;
    bool negative = *name == '^';
    name += negative;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz");
    *found = n > 0 && name[n] == ':' && name[n + 1] == ']';
    if (!*found) return MOE_OK;
    p->p = name + n + 2;
    return add_class(p, set, name, n, MOE_CLASS_IN_BRACKET, negative);
}

static moe_status take_nested(struct moe_regex_parser *p, struct moe_charset *set) {
    bool found;
    MOE_TRY(take_bracket(p, set, &found));
    if (found) return MOE_OK;
    struct moe_charset nested = {0};
    p->p++;
    moe_status status = moe_regex_class(p, &nested, false);
    if (status == MOE_OK && !moe_charset_add_set(set, &nested)) status = moe_regex_no_memory(p);
    moe_charset_free(&nested);
    return status;
}

/* The next element; classes go into *set at once. */
static moe_status take_element(struct moe_regex_parser *p, struct moe_charset *set, struct element *out) {
    *out = (struct element){0};
    if (*p->p == '[') return take_nested(p, set);
    if (*p->p != '\\') {
        out->is_literal = true;
        out->literal = moe_regex_take(p);
        return MOE_OK;
    }
    p->p++;
    bool known;
    MOE_TRY(moe_regex_escape(p, set, &out->is_literal, &out->literal, &known, true));
    if (!known)
        return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "an escape inside a class that is not known here");
    return MOE_OK;
}

/* Whether p->p is at a '-' that makes a range with what follows. */
static bool at_range(const struct moe_regex_parser *p) {
    return p->p[0] == '-' && p->p[1] != ']' && p->p[1] != '\0';
}

/* One element with the range it may begin. */
static moe_status take_range(struct moe_regex_parser *p, struct moe_charset *set) {
    struct element first, last;
    MOE_TRY(take_element(p, set, &first));
    if (!at_range(p)) {
        if (first.is_literal && !moe_charset_append(set, first.literal, first.literal))
            return moe_regex_no_memory(p);
        return MOE_OK;
    }
    if (!first.is_literal || p->p[1] == '[' || (p->p[1] == '&' && p->p[2] == '&'))
        return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a '-' beside a class or && inside a class");
    p->p++;
    MOE_TRY(take_element(p, set, &last));
    if (!last.is_literal) return moe_regex_refuse(p, MOE_E_FORMAT, "a class at the end of a range");
    if (last.literal < first.literal)
        return moe_regex_refuse(p, MOE_E_FORMAT, "a range that ends before it begins");
    if (at_range(p)) return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a '-' right after a range");
    return moe_charset_append(set, first.literal, last.literal) ? MOE_OK : moe_regex_no_memory(p);
}

/* What stands between "&&"s. */
static moe_status take_operand(struct moe_regex_parser *p, struct moe_charset *set, bool first) {
    while (*p->p != ']' || first) {
        if (*p->p == '\0') return moe_regex_refuse(p, MOE_E_FORMAT, "a class without its ']'");
        if (p->p[0] == '&' && p->p[1] == '&') break;
        MOE_TRY(take_range(p, set));
        first = false;
    }
    moe_charset_tidy(set);
    return MOE_OK;
}

static moe_status take_operands(struct moe_regex_parser *p, struct moe_charset *set) {
    MOE_TRY(take_operand(p, set, true));
    while (p->p[0] == '&') {
        struct moe_charset operand = {0};
        p->p += 2;
        moe_status status = take_operand(p, &operand, false);
        if (status == MOE_OK && !moe_charset_intersect(set, &operand)) status = moe_regex_no_memory(p);
        moe_charset_free(&operand);
        MOE_TRY(status);
    }
    p->p++;
    return MOE_OK;
}

moe_status moe_regex_class(struct moe_regex_parser *p, struct moe_charset *set, bool ignore_case) {
    bool negative = *p->p == '^';
    p->p += negative;
    if (++p->depth > MOE_REGEX_MAX_DEPTH) return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "nested too deep");
    if (negative && p->in_negative) /* the reference is not always right about it */
        return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a negative class inside a negative class");
    bool outer = p->in_negative;
    p->in_negative = outer || negative;
    MOE_TRY(take_operands(p, set));
    p->in_negative = outer;
    p->depth--;
    if (ignore_case) {
        if (!negative && moe_unicode_has_several(set))
            return moe_regex_refuse(p, MOE_E_UNSUPPORTED,
                                    "under (?i), a class with a character that equals several others");
        if (!moe_unicode_close_over_case(set)) return moe_regex_no_memory(p);
    }
    if (negative && !moe_charset_invert(set)) return moe_regex_no_memory(p);
    return MOE_OK;
}
