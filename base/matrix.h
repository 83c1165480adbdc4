#ifndef MOE_BASE_MATRIX_H
#define MOE_BASE_MATRIX_H
/* A weight matrix as it lies in the checkpoint: a borrowed view, never converted. */

#include <stddef.h>

/* The order in which a row of activations is laid out for a dot product, in blocks of MOE_LANES elements.
 * NATURAL   as it is: lane l of a block is element l.
 * EVEN_ODD  the 16 even elements, then the 16 odd ones: what a 32-bit word holding two 16-bit weights
 *           gives after one shift (low half) and one mask (high half), without a shuffle. */
enum moe_layout { MOE_LAYOUT_NATURAL, MOE_LAYOUT_EVEN_ODD, MOE_LAYOUT_COUNT };

enum moe_format {
#define MOE_FORMAT(id, dtype, bits, layout) MOE_FORMAT_##id,
#include "base/format.def"
#undef MOE_FORMAT
    MOE_FORMAT_COUNT
};

/* Number of virtual lanes of every dot product; k is padded to a multiple of it. */
enum { MOE_LANES = 32 };

static inline size_t moe_padded(size_t k) {
    return (k + MOE_LANES - 1) / MOE_LANES * MOE_LANES;
}

/* [rows, cols], row-major as on disk (y = x W^T: one row per output). `data` has no alignment at all: a
 * safetensors header may have any length, so every load is an unaligned one. */
struct moe_matrix {
    enum moe_format format;
    size_t rows, cols;
    size_t row_bytes; /* from one row to the next; >= cols * bits / 8 */
    const void *data; /* borrowed from the checkpoint's map */
};

/* The first byte of row `r`. */
static inline const unsigned char *moe_matrix_row(const struct moe_matrix *w, size_t r) {
    return (const unsigned char *)w->data + r * w->row_bytes;
}

/* "BF16" and so on; the layout that a format's dot product wants. */
const char *moe_format_name(enum moe_format f);
enum moe_layout moe_format_layout(enum moe_format f);
size_t moe_format_bits(enum moe_format f);

#endif
