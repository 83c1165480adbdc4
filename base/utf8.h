#ifndef MOE_BASE_UTF8_H
#define MOE_BASE_UTF8_H
/* UTF-8 as RFC 3629 has it: nothing overlong, no surrogates, nothing above U+10FFFF. */

#include <stddef.h>
#include <stdint.h>

/* Bytes (1 to 4) of the character that starts s [n], and its code point; 0 if there is no well-formed one.
 * code may be NULL. */
size_t moe_utf8_decode(uint32_t *code, const char *s, size_t n);

#endif
