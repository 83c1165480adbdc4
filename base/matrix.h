#ifndef MOE_BASE_MATRIX_H
#define MOE_BASE_MATRIX_H
/* A weight matrix as it lies in the checkpoint: a borrowed view, never converted. */

#include <stdbool.h>
#include <stddef.h>

/* The order in which a row of activations is laid out for a dot product: in blocks, padded with zeros to a
 * whole one.
 * NATURAL   as it is, in blocks of 32.
 * EVEN_ODD  of a block of 32 the 16 even elements, then the 16 odd ones: what a 32-bit word holding two
 *           16-bit weights gives after one shift (low half) and one mask (high half), without a shuffle.
 * QUADS     of a block of 64 the 16 elements 4i, then 4i + 1, 4i + 2, 4i + 3: what 16 words that hold four
 *           small codes each give, code by code.
 * PAIRS     as it is, in blocks of 32, but in bfloat16: 16 words of two neighbours, the earlier one below. */
enum moe_layout {
    MOE_LAYOUT_NATURAL,
    MOE_LAYOUT_EVEN_ODD,
    MOE_LAYOUT_QUADS,
    MOE_LAYOUT_PAIRS,
    MOE_LAYOUT_COUNT
};

enum moe_format {
#define MOE_FORMAT(id, name, bits, layout) MOE_FORMAT_##id,
#include "base/format.def"
#undef MOE_FORMAT
    MOE_FORMAT_COUNT
};

/* Number of virtual lanes of every dot product; k is padded to a multiple of it, or of a layout's block. */
enum { MOE_LANES = 32, MOE_QUADS_BLOCK = 64 };

static inline size_t moe_padded(size_t k) {
    return (k + MOE_LANES - 1) / MOE_LANES * MOE_LANES;
}

/* What turns the codes of a quantised format into weights: one scale (and bias) for each group of `columns`
 * neighbours in each of `rows` rows. Nothing is aligned. */
struct moe_scales {
    const void *scale, *bias; /* borrowed; bias: affine formats only, else NULL */
    enum moe_format number;   /* of scale and bias: F32, BF16 or F16; unused where a format fixes it */
    size_t row_bytes;         /* from one row of groups to the next */
    size_t columns, rows; /* of a group, > 0; columns a power of two >= MOE_LANES. The last may be partial */
    size_t first_row;     /* row 0 of the matrix is this row of the first row of groups; < rows */
};

/* What a packed matrix keeps apart (base/packed.h). Nothing is aligned; numbers are little-endian. Borrowed.
 */
struct moe_escapes {
    const void *table; /* [16]: the high byte that each code stands for */
    const void *first; /* uint32 [rows + 1]: escaped blocks before each row, counted over block and high */
    const void *block; /* uint32 [first[rows]]: which block of its row, ascending within a row */
    const void *high;  /* [first[rows], 128]: the high bytes of its weights, in the order of its low bytes */
};

/* [rows, cols], row-major as on disk (y = x W^T: one row per output). `data` has no alignment at all: a
 * safetensors header may have any length, so every load is an unaligned one. cols is a multiple of MOE_LANES
 * where the weights of a quantised format take less than a byte or no power of two of bits; nothing after a
 * row's codes is read. */
struct moe_matrix {
    enum moe_format format;
    size_t rows, cols;
    size_t row_bytes;           /* from one row to the next; >= moe_format_row_bytes */
    const void *data;           /* borrowed from the checkpoint's map */
    struct moe_scales scales;   /* of a quantised format */
    struct moe_escapes escapes; /* of a packed format */
};

/* The first byte of row `r`. */
static inline const unsigned char *moe_matrix_row(const struct moe_matrix *w, size_t r) {
    return (const unsigned char *)w->data + r * w->row_bytes;
}

/* Offset of the row of groups that row `r` belongs to, from scales.scale and from scales.bias. */
static inline size_t moe_matrix_group_row(const struct moe_matrix *w, size_t r) {
    return (w->scales.first_row + r) / w->scales.rows * w->scales.row_bytes;
}

/* "BF16" and so on; the layout that a format's dot product wants. */
const char *moe_format_name(enum moe_format f);
enum moe_layout moe_format_layout(enum moe_format f);
size_t moe_format_bits(enum moe_format f);
/* Bytes of a row of `cols` weights, scales and escapes apart. */
size_t moe_format_row_bytes(enum moe_format f, size_t cols);
/* Whether weights lie side by side as numbers: F32, BF16, F16, BF16_PAIRS. */
bool moe_format_is_plain(enum moe_format f);
/* Whether they are packed: PACKED, PACKED_PAIRS. */
bool moe_format_is_packed(enum moe_format f);
/* Whether weights are codes that scales go with. */
bool moe_format_is_quantised(enum moe_format f);
/* The format of the same bytes whose products take activations in bf16; f itself where there is none. */
enum moe_format moe_format_in_pairs(enum moe_format f);

/* Elements of a block of a layout, and of a row of k in it, padding included. */
static inline size_t moe_layout_block(enum moe_layout layout) {
    return layout == MOE_LAYOUT_QUADS ? MOE_QUADS_BLOCK : MOE_LANES;
}

size_t moe_layout_padded(enum moe_layout layout, size_t k);
/* The room that such a row takes, in floats. */
size_t moe_layout_floats(enum moe_layout layout, size_t k);

/* Where element i of a block is put. */
static inline size_t moe_layout_place(enum moe_layout layout, size_t i) {
    const size_t apart = layout == MOE_LAYOUT_QUADS ? 4 : layout == MOE_LAYOUT_EVEN_ODD ? 2 : 1;
    return i % apart * (moe_layout_block(layout) / apart) + i / apart;
}

/* The rows [first, first + n), a view of the same data. */
struct moe_matrix moe_matrix_rows(const struct moe_matrix *w, size_t first, size_t n);

/* Bytes that reading all of `w` takes, scales and escapes included, whatever lies between its rows. */
size_t moe_matrix_bytes(const struct moe_matrix *w);

#endif
