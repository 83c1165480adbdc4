/* Two bytes and a text that stays UTF-8, most of the time: else three changes of four would only show once
 * more that text which is not is refused. */
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/fuzz/mutate.h"

enum { KIND = 2 };

/* Random characters of one, two, three and four bytes, many of them where something happens. */
static size_t put_character(char *out, struct mutate_random *r) {
    static const uint32_t starts[] = {0x20,   0x41,   0x80,   0xa0,    0x300,   0x600,
                                      0x900,  0x1100, 0x2000, 0x2580,  0x3000,  0x4e00,
                                      0xac00, 0xfb00, 0xfe00, 0x1f600, 0x2f800, 0x10ffc0};
    uint32_t c = starts[mutate_below(r, sizeof starts / sizeof *starts)] + (uint32_t)mutate_below(r, 64);
    if (c < 0x80) return (*out = (char)c), 1;
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(leads[more] | c >> (6 * more));
    for (size_t i = 1; i <= more; i++) out[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

/* Bytes that are part of no character become letters. */
static void repair(uint8_t *text, size_t n, struct mutate_random *r) {
    for (size_t i = 0, length; i < n; i += length ? length : 1) {
        length = moe_utf8_decode(NULL, (const char *)text + i, n - i);
        if (length == 0) text[i] = (uint8_t) "aet 1\n.'"[mutate_below(r, 8)];
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
    struct mutate_random r = {seed};
    if (n < KIND || max <= n || mutate_below(&r, 8) == 0) return LLVMFuzzerMutate(data, n, max);
    if (mutate_below(&r, 4) == 0) {
        char character[4];
        size_t at = KIND + mutate_below(&r, n - KIND + 1);
        while (at < n && (data[at] & 0xc0) == 0x80) at++;
        n = mutate_splice(data, n, max, at, 0, character, put_character(character, &r));
    } else {
        n = KIND + LLVMFuzzerMutate(data + KIND, n - KIND, max - KIND);
    }
    if (mutate_below(&r, 8) > 0) repair(data + KIND, n - KIND, &r);
    return n;
}
