#include "base/matrix.h"

#include "base/packed.h"

static const struct {
    const char *name;
    size_t bits;
    enum moe_layout layout;
} formats[MOE_FORMAT_COUNT] = {
#define MOE_FORMAT(id, name, bits, layout) [MOE_FORMAT_##id] = {name, bits, MOE_LAYOUT_##layout},
#include "base/format.def"
#undef MOE_FORMAT
};

const char *moe_format_name(enum moe_format f) {
    return formats[f].name;
}

enum moe_layout moe_format_layout(enum moe_format f) {
    return formats[f].layout;
}

size_t moe_format_bits(enum moe_format f) {
    return formats[f].bits;
}

size_t moe_format_row_bytes(enum moe_format f, size_t cols) {
    if (moe_format_is_packed(f)) return moe_packed_blocks(cols) * MOE_PACKED_BYTES;
    return cols * formats[f].bits / 8;
}

bool moe_format_is_plain(enum moe_format f) {
    return f < MOE_FORMAT_PACKED;
}

bool moe_format_is_packed(enum moe_format f) {
    return f == MOE_FORMAT_PACKED || f == MOE_FORMAT_PACKED_PAIRS;
}

bool moe_format_is_quantised(enum moe_format f) {
    return f >= MOE_FORMAT_FP8;
}

enum moe_format moe_format_in_pairs(enum moe_format f) {
    return f == MOE_FORMAT_BF16     ? MOE_FORMAT_BF16_PAIRS
           : f == MOE_FORMAT_PACKED ? MOE_FORMAT_PACKED_PAIRS
                                    : f;
}

size_t moe_layout_padded(enum moe_layout layout, size_t k) {
    const size_t block = moe_layout_block(layout);
    return (k + block - 1) / block * block;
}

size_t moe_layout_floats(enum moe_layout layout, size_t k) {
    return moe_layout_padded(layout, k) / (layout == MOE_LAYOUT_PAIRS ? 2 : 1);
}

struct moe_matrix moe_matrix_rows(const struct moe_matrix *w, size_t first, size_t n) {
    struct moe_matrix out = *w;
    out.rows = n;
    out.data = moe_matrix_row(w, first);
    if (moe_format_is_quantised(w->format)) {
        size_t skipped = moe_matrix_group_row(w, first);
        out.scales.scale = (const unsigned char *)w->scales.scale + skipped;
        if (w->scales.bias) out.scales.bias = (const unsigned char *)w->scales.bias + skipped;
        out.scales.first_row = (w->scales.first_row + first) % w->scales.rows;
    }
    if (moe_format_is_packed(w->format))
        out.escapes.first = (const unsigned char *)w->escapes.first + first * sizeof(uint32_t);
    return out;
}

size_t moe_matrix_bytes(const struct moe_matrix *w) {
    size_t bytes = w->rows * moe_format_row_bytes(w->format, w->cols);
    if (moe_format_is_packed(w->format)) return bytes + moe_packed_escape_bytes(w);
    if (!moe_format_is_quantised(w->format)) return bytes;
    size_t groups = (w->cols + w->scales.columns - 1) / w->scales.columns;
    size_t rows = (w->scales.first_row + w->rows + w->scales.rows - 1) / w->scales.rows;
    size_t size = w->format == MOE_FORMAT_MXFP4 ? 1 : moe_format_bits(w->scales.number) / 8;
    return bytes + rows * groups * size * (w->scales.bias ? 2 : 1);
}
