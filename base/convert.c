#include "base/convert.h"

#include <assert.h>

#include "base/packed.h"

const float moe_fp4_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};

void moe_convert_to_f32(float *out, enum moe_format format, const void *data, size_t n) {
    if (format == MOE_FORMAT_F32) {
        if (n) memcpy(out, data, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++) out[i] = moe_number(format, data, i);
}

/* Bits [at, at + n) of a little-endian stream, n <= 8. */
static unsigned stream_bits(const unsigned char *p, size_t at, size_t n) {
    p += at / 8;
    unsigned word = p[0];
    if (at % 8 + n > 8) word |= (unsigned)p[1] << 8;
    return word >> at % 8 & ((1U << n) - 1);
}

/* One group, or a part of one, of a quantised format. */
static void widen_group(float *y, const struct moe_matrix *w, const unsigned char *row,
                        const unsigned char *scales, const unsigned char *biases, size_t group, size_t first,
                        size_t n) {
    const enum moe_format number = w->scales.number;
    if (w->format == MOE_FORMAT_MXFP4) {
        const float scale = moe_mxfp4_half_scale(scales[group]);
        for (size_t i = 0; i < n; i++) y[i] = moe_fp4_doubled[stream_bits(row, (first + i) * 4, 4)] * scale;
        return;
    }
    const float scale = moe_number(number, scales, group);
    if (w->format == MOE_FORMAT_FP8) {
        for (size_t i = 0; i < n; i++) y[i] = moe_float_of_e4m3(row[first + i]) * scale;
        return;
    }
    const size_t bits = moe_format_bits(w->format);
    assert(biases);
    const float bias = moe_number(number, biases, group);
    for (size_t i = 0; i < n; i++) {
        const float product = scale * (float)stream_bits(row, (first + i) * bits, bits);
        y[i] = product + bias;
    }
}

static void widen_packed(float *y, const struct moe_matrix *w, size_t r, size_t first, size_t n) {
    uint16_t weights[MOE_PACKED_WEIGHTS];
    for (size_t i = 0; i < n; i += MOE_PACKED_WEIGHTS) {
        const size_t here = n - i < MOE_PACKED_WEIGHTS ? n - i : MOE_PACKED_WEIGHTS;
        moe_packed_unpack(weights, w, r, first + i, here);
        moe_convert_to_f32(y + i, MOE_FORMAT_BF16, weights, here);
    }
}

void moe_matrix_widen_part(float *y, const struct moe_matrix *w, size_t r, size_t first, size_t n) {
    const unsigned char *row = moe_matrix_row(w, r);
    if (moe_format_is_packed(w->format)) {
        widen_packed(y, w, r, first, n);
        return;
    }
    if (moe_format_is_plain(w->format)) {
        moe_convert_to_f32(y, w->format, row + first * (moe_format_bits(w->format) / 8), n);
        return;
    }
    const size_t skipped = moe_matrix_group_row(w, r), columns = w->scales.columns, end = first + n;
    const unsigned char *scales = (const unsigned char *)w->scales.scale + skipped;
    const unsigned char *biases = w->scales.bias ? (const unsigned char *)w->scales.bias + skipped : NULL;
    for (size_t at = first; at < end;) {
        const size_t next = (at / columns + 1) * columns, here = (next < end ? next : end) - at;
        widen_group(y + (at - first), w, row, scales, biases, at / columns, at, here);
        at += here;
    }
}

void moe_matrix_widen(float *y, const struct moe_matrix *w, size_t r) {
    moe_matrix_widen_part(y, w, r, 0, w->cols);
}
