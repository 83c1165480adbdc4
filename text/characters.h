#ifndef MOE_TEXT_CHARACTERS_H
#define MOE_TEXT_CHARACTERS_H
/* UTF-8. Text inside this folder is valid, once it has been checked at the door. */

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that begins with `lead`. */
static inline size_t moe_char_length(char lead) {
    unsigned char b = (unsigned char)lead;
    return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

/* The character at `s`, which is valid; returns its length. */
static inline size_t moe_char_decode(uint32_t *code_point, const char *s) {
    const unsigned char *b = (const unsigned char *)s;
    if (b[0] < 0x80) {
        *code_point = b[0];
        return 1;
    }
    if (b[0] < 0xE0) {
        *code_point = (uint32_t)(b[0] & 0x1F) << 6 | (b[1] & 0x3Fu);
        return 2;
    }
    if (b[0] < 0xF0) {
        *code_point = (uint32_t)(b[0] & 0x0F) << 12 | (uint32_t)(b[1] & 0x3F) << 6 | (b[2] & 0x3Fu);
        return 3;
    }
    *code_point = (uint32_t)(b[0] & 0x07) << 18 | (uint32_t)(b[1] & 0x3F) << 12 |
                  (uint32_t)(b[2] & 0x3F) << 6 | (b[3] & 0x3Fu);
    return 4;
}

/* The start of the character that ends before `end`; begin < end. */
static inline const char *moe_char_before(const char *begin, const char *end) {
    do end--;
    while (end > begin && ((unsigned char)*end & 0xC0) == 0x80);
    return end;
}

/* Writes a code point up to U+10FFFF; returns its length. */
size_t moe_char_encode(char out[4], uint32_t code_point);

enum moe_char_kind {
    MOE_CHAR_VALID,     /* a character */
    MOE_CHAR_INVALID,   /* a maximal part of no character: what one U+FFFD stands for */
    MOE_CHAR_INCOMPLETE /* the text ends inside a character */
};

/* Looks at the start of bytes [n], n > 0; *length is how many the answer is about. */
enum moe_char_kind moe_char_next(size_t *length, const char *bytes, size_t n);

/* Offset of the first byte that belongs to no character; n if there is none. */
size_t moe_char_valid_length(const char *bytes, size_t n);

#endif
