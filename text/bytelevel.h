#ifndef MOE_TEXT_BYTELEVEL_H
#define MOE_TEXT_BYTELEVEL_H
/* The byte alphabet of GPT-2: every byte as a printable character, U+0021 to U+0143. */

#include <stdint.h>

/* Printable bytes stand for themselves; the others, in ascending order, for U+0100 and on. */
static inline uint32_t moe_bytelevel_character(unsigned char b) {
    if ((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD)) return b;
    if (b < 0x21) return 0x100u + b;
    return b == 0xAD ? 0x143u : 0x121u + (b - 0x7Fu);
}

/* The byte of a character; -1 if it is none of the alphabet. */
static inline int moe_bytelevel_byte(uint32_t c) {
    if (c < 0x100) return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c != 0xAD) ? (int)c : -1;
    if (c < 0x121) return (int)(c - 0x100);
    if (c < 0x143) return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

#endif
