#include "tests/fuzz/mutate.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

size_t mutate_below(struct mutate_random *r, size_t n) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return n ? (size_t)((r->state >> 33) % n) : 0;
}

size_t mutate_splice(uint8_t *data, size_t n, size_t max, size_t at, size_t n_old, const void *new,
                     size_t n_new) {
    if (n - n_old + n_new > max) return n;
    uint8_t *copy = malloc(n_new + 1);
    if (!copy) return n;
    if (n_new) memcpy(copy, new, n_new);
    memmove(data + at + n_new, data + at + n_old, n - at - n_old);
    memcpy(data + at, copy, n_new);
    free(copy);
    return n - n_old + n_new;
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

struct span {
    size_t begin, end;
};

enum { MAX_SPANS = 512 };

/* The end of the token that begins at i: a string, a run of letters and digits, or one other byte. */
static size_t token_end(const uint8_t *s, size_t n, size_t i) {
    size_t from = i;
    if (s[i] == '"') {
        for (i++; i < n && s[i] != '"'; i++)
            if (s[i] == '\\') i++;
        return i < n ? i + 1 : n;
    }
    while (i < n && (isalnum(s[i]) || s[i] == '.' || s[i] == '-' || s[i] == '+')) i++;
    return i > from ? i : i + 1;
}

/* Values, the containers among them whole: at most MAX_SPANS, from a random place on. Keys as well, if asked
 * for. */
static size_t find_values(struct span *out, const uint8_t *s, size_t n, struct mutate_random *r) {
    size_t open[64], depth = 0, found = 0, seen = 0;
    for (size_t i = 0; i < n;) {
        size_t end = token_end(s, n, i);
        struct span value = {i, end};
        bool is_value = s[i] == '"' || isalnum(s[i]) || s[i] == '-';
        if (s[i] == '{' || s[i] == '[') {
            if (depth < 64) open[depth] = i;
            depth++;
        } else if ((s[i] == '}' || s[i] == ']') && depth > 0) {
            depth--;
            is_value = depth < 64;
            if (is_value) value.begin = open[depth];
        }
        if (is_value) {
            /* a sample in which every value is as likely */
            size_t place = found < MAX_SPANS ? found++ : mutate_below(r, seen + 1);
            if (place < MAX_SPANS) out[place] = value;
            seen++;
        }
        i = end;
    }
    return found;
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A value with its key and the comma after it, or, if it is the last, before it. */
static struct span member_of(const uint8_t *s, size_t n, struct span v) {
    size_t begin = v.begin, end = v.end;
    while (begin > 0 && is_space(s[begin - 1])) begin--;
    if (begin > 0 && s[begin - 1] == ':') {
        begin--;
        while (begin > 0 && is_space(s[begin - 1])) begin--;
        if (begin > 0 && s[begin - 1] == '"') begin--;
        while (begin > 0 && s[begin - 1] != '"') begin--;
        if (begin > 0) begin--;
    } else {
        begin = v.begin;
    }
    while (end < n && is_space(s[end])) end++;
    if (end < n && s[end] == ',') return (struct span){begin, end + 1};
    while (begin > 0 && is_space(s[begin - 1])) begin--;
    if (begin > 0 && s[begin - 1] == ',') begin--;
    return (struct span){begin, v.end};
}

static const char *const borders[] = {"0",
                                      "1",
                                      "2",
                                      "-1",
                                      "-0",
                                      "255",
                                      "256",
                                      "65536",
                                      "2147483647",
                                      "2147483648",
                                      "4294967295",
                                      "4294967296",
                                      "9007199254740991",
                                      "9007199254740992",
                                      "9223372036854775807",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "0.5",
                                      "1e-45",
                                      "1e308",
                                      "1e309",
                                      "null",
                                      "true",
                                      "false",
                                      "\"\"",
                                      "[]",
                                      "{}",
                                      "[0]",
                                      "\"\\u0000\"",
                                      "\"\\ud83d\\ude00\""};

/* A number a little larger or smaller, or twice or half as large. */
static size_t nudge(uint8_t *text, size_t n, size_t max, struct span v, struct mutate_random *r) {
    char number[24] = {0}, *end;
    if (v.end - v.begin >= sizeof number) return LLVMFuzzerMutate(text, n, max);
    memcpy(number, text + v.begin, v.end - v.begin);
    unsigned long long x = strtoull(number, &end, 10);
    if (*end || end == number) return LLVMFuzzerMutate(text, n, max);
    switch (mutate_below(r, 5)) {
    case 0:
        x++;
        break;
    case 1:
        x--;
        break;
    case 2:
        x *= 2;
        break;
    case 3:
        x /= 2;
        break;
    default:
        x = mutate_below(r, 16);
    }
    char digits[24], *at = digits + sizeof digits;
    do *--at = (char)('0' + x % 10);
    while (x /= 10);
    return mutate_splice(text, n, max, v.begin, v.end - v.begin, at, (size_t)(digits + sizeof digits - at));
}

size_t mutate_json(uint8_t *text, size_t n, size_t max, struct mutate_random *r) {
    struct span *values = calloc(MAX_SPANS, sizeof *values);
    size_t found = values ? find_values(values, text, n, r) : 0;
    if (found == 0 || mutate_below(r, 4) == 0) {
        free(values);
        return LLVMFuzzerMutate(text, n, max);
    }
    struct span v = values[mutate_below(r, found)], other = values[mutate_below(r, found)];
    free(values);
    struct span member = member_of(text, n, v), from = member_of(text, n, other);
    const char *border = borders[mutate_below(r, sizeof borders / sizeof *borders)];
    switch (mutate_below(r, 8)) {
    case 0: /* a border */
        return mutate_splice(text, n, max, v.begin, v.end - v.begin, border, strlen(border));
    case 1: /* another value's place */
        return mutate_splice(text, n, max, v.begin, v.end - v.begin, text + other.begin,
                             other.end - other.begin);
    case 2: /* gone */
        return mutate_splice(text, n, max, member.begin, member.end - member.begin, "", 0);
    case 3: /* twice: arrays grow; objects have a duplicate, until its key changes */
        return mutate_splice(text, n, max, member.begin, 0, text + member.begin, member.end - member.begin);
    case 4: /* moved in: a member of one object becomes one of another */
        return mutate_splice(text, n, max, member.begin, 0, text + from.begin, from.end - from.begin);
    case 5: { /* inside of one value */
        uint8_t *copy = malloc(v.end - v.begin + 64);
        if (!copy) return n;
        memcpy(copy, text + v.begin, v.end - v.begin);
        size_t length = LLVMFuzzerMutate(copy, v.end - v.begin, v.end - v.begin + 64);
        n = mutate_splice(text, n, max, v.begin, v.end - v.begin, copy, length);
        free(copy);
        return n;
    }
    default:
        return nudge(text, n, max, v, r);
    }
}
