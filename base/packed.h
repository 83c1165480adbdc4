#ifndef MOE_BASE_PACKED_H
#define MOE_BASE_PACKED_H
/* The format PACKED: bfloat16 weights in 12 bits each, without loss. Of a weight the low byte is stored as it
 * is; the high one, sign and upper exponent bits, takes few values in one matrix and is a code of 4 bits into
 * a table of 16. A block whose high bytes are not all in the table is an escape: they lie apart, whole
 * (struct moe_escapes), its codes are 0 and nobody reads them.
 *
 * A row is blocks of 128 weights, each 64 bytes of codes, then 128 low bytes; the weights that the last block
 * lacks are +0. Low bytes are ordered for instructions that interleave the bytes of two vectors 16 at a time:
 * of the two vectors of 64, the lane q of vector v holds elements 8q to 8q + 7 of the block's 32 elements
 * number 2v, then of those number 2v + 1. Byte j of the codes holds the code of byte j of vector 0 in its low
 * half, of vector 1 in its high half. docs/kernels.md tells what that is good for.
 *
 * To pack a matrix: tally its high bytes, choose the table, count each row's escapes, sum the counts, write.
 * Tallying, counting and writing take any rows of it, so that threads may share the work. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/matrix.h"

enum {
    MOE_PACKED_WEIGHTS = 128, /* of a block */
    MOE_PACKED_CODES = 64,    /* bytes of its codes, which come first */
    MOE_PACKED_BYTES = MOE_PACKED_CODES + MOE_PACKED_WEIGHTS,
    MOE_PACKED_TABLE = 16
};

static inline size_t moe_packed_blocks(size_t cols) {
    return (cols + MOE_PACKED_WEIGHTS - 1) / MOE_PACKED_WEIGHTS;
}

/* Element i of escapes.first or escapes.block. */
static inline uint32_t moe_packed_number(const void *numbers, size_t i) {
    uint32_t n;
    memcpy(&n, (const unsigned char *)numbers + i * sizeof n, sizeof n);
    return n;
}

/* The 128 high bytes of escape i. */
static inline const unsigned char *moe_packed_high(const struct moe_escapes *e, size_t i) {
    return (const unsigned char *)e->high + i * MOE_PACKED_WEIGHTS;
}

/* tally[b] += how many weights of rows [first, first + n) of w (BF16) have the high byte b, padding included.
 */
void moe_packed_tally(uint64_t tally[256], const struct moe_matrix *w, size_t first, size_t n);

/* The most frequent high bytes; of equals the lowest. */
void moe_packed_choose(unsigned char table[MOE_PACKED_TABLE], const uint64_t tally[256]);

/* counts[i] = escapes of row first + i of w (BF16).   counts [n] */
void moe_packed_count(uint32_t *counts, const struct moe_matrix *w,
                      const unsigned char table[MOE_PACKED_TABLE], size_t first, size_t n);

/* Counts of n rows at numbers + 1 become escapes.first: numbers [n + 1]. False if 32 bits do not hold them.
 */
bool moe_packed_sum(uint32_t *numbers, size_t n);

/* What a packed matrix consists of, where it is made. */
struct moe_packed_parts {
    unsigned char *data;        /* [rows, blocks, MOE_PACKED_BYTES]; aligned to 64 bytes for speed */
    const unsigned char *table; /* [MOE_PACKED_TABLE] */
    const uint32_t *first;      /* [rows + 1]: counts, summed */
    uint32_t *block;            /* [first[rows]] */
    unsigned char *high;        /* [first[rows], MOE_PACKED_WEIGHTS] */
};

/* Packs rows [first, first + n) of w (BF16) into their places. */
void moe_packed_write(const struct moe_packed_parts *out, const struct moe_matrix *w, size_t first, size_t n);

/* A view of it. */
struct moe_matrix moe_packed_matrix(const struct moe_packed_parts *parts, size_t rows, size_t cols);

/* The weights [first, first + n) of row r of a packed matrix, exactly those that were packed.   out [n] */
void moe_packed_unpack(uint16_t *out, const struct moe_matrix *w, size_t r, size_t first, size_t n);

/* Whether w's escapes.first and escapes.block may be believed: in order, within the row, and none beyond the
 * n_escapes that are there. What a file says must be checked before anything else here reads it. */
bool moe_packed_check(const struct moe_matrix *w, size_t n_escapes);

/* Bytes that a packed matrix keeps apart. */
size_t moe_packed_escape_bytes(const struct moe_matrix *w);

#endif
