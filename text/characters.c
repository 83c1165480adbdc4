#include "text/characters.h"

#include <string.h>

size_t moe_char_encode(char out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

enum moe_char_kind moe_char_next(size_t *length, const char *bytes, size_t n) {
    const unsigned char *b = (const unsigned char *)bytes;
    *length = 1;
    if (b[0] < 0x80) return MOE_CHAR_VALID;
    if (b[0] < 0xC2 || b[0] > 0xF4) return MOE_CHAR_INVALID;
    size_t whole = moe_char_length(bytes[0]);
    /* the second byte excludes overlong forms, surrogates and what is past U+10FFFF */
    unsigned low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < whole; i++) {
        if (i == n) return MOE_CHAR_INCOMPLETE;
        if (b[i] < low || b[i] > high) return MOE_CHAR_INVALID;
        *length = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return MOE_CHAR_VALID;
}

size_t moe_char_valid_length(const char *bytes, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (n - i >= sizeof eight) {
            memcpy(&eight, bytes + i, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i += sizeof eight;
                continue;
            }
        }
        size_t length;
        if (moe_char_next(&length, bytes + i, n - i) != MOE_CHAR_VALID) return i;
        i += length;
    }
    return n;
}
