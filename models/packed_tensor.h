#ifndef MOE_MODELS_PACKED_TENSOR_H
#define MOE_MODELS_PACKED_TENSOR_H
/* How a packed matrix, or a stack of them, lies in a safetensors file: what reading and writing share.
 * Of NAME [rows, cols], or [n, rows, cols], which is not there itself:
 *
 * NAME_packed   [(n,) rows, ceil(cols / 128), 192], U8: base/packed.h.
 * NAME_escapes  [bytes], U8: n tables of 16 bytes; first, n * rows + 1 numbers of 32 bits; block, a number of
 *               32 bits for each escape; zeros up to a multiple of 64; high, 128 bytes for each escape. */

#include "base/matrix.h"

#define MOE_PACKED_SUFFIX  "_packed"
#define MOE_ESCAPES_SUFFIX "_escapes"

enum { MOE_PACKED_ALIGN = 64 }; /* of NAME_packed in a file that is well made, and of what is inside */

/* Offsets of the parts of NAME_escapes, and its size. */
struct moe_escapes_layout {
    size_t first, block, high, n_bytes;
};

/* Of n_tables matrices that have n_rows rows in all. False if the size overflows. */
bool moe_escapes_lay_out(struct moe_escapes_layout *out, size_t n_tables, size_t n_rows, size_t n_escapes);

#endif
