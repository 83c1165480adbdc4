#ifndef MOE_KERNELS_SIMD_CODES_H
#define MOE_KERNELS_SIMD_CODES_H
/* Words of codes: of a block of layout QUADS word i, a lane, holds the codes of elements 4i to 4i + 3, one
 * after the other from its lowest bit on. */

#include "kernels/kernels.h"

/* Codes of 3, 5 or 6 bits: word i is the 16 bits or more from bit 4 * bits * i of the block on, which begin
 * in the middle of a byte for odd bits and i. Byte shuffles that collect four words from the byte of the
 * first, which is `at` in what was loaded; bytes past a word's are the next one's, or none. */
#define MOE_WORD(bits, i, at) (bits * i / 2 + at), (bits * i / 2 + at + 1), (bits * i / 2 + at + 2), -1
#define MOE_WORDS(bits, at)                                                                                  \
    MOE_WORD(bits, 0, at), MOE_WORD(bits, 1, at), MOE_WORD(bits, 2, at), MOE_WORD(bits, 3, at)

#endif
