/* The dot product of activations in bf16 that defines the bits of the formats in pairs. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/convert.h"
#include "kernels/scalar/table.h"

enum { PAIRS = MOE_LANES / 2 };

static float flushed(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

static float fma_flushed(float a, float b, float c) {
    return flushed(fmaf(flushed(a), flushed(b), c));
}

float moe_dot_pairs_scalar(const float *x, const struct moe_matrix *w, size_t r) {
    float lane[PAIRS] = {0};
    for (size_t i = 0; i < w->cols; i += MOE_LANES) {
        const size_t n = w->cols - i < MOE_LANES ? w->cols - i : MOE_LANES;
        float weights[MOE_LANES] = {0}, rounded[MOE_LANES];
        moe_matrix_widen_part(weights, w, r, i, n);
        moe_convert_to_f32(rounded, MOE_FORMAT_BF16_PAIRS, x + i / 2, MOE_LANES);
        for (size_t l = 0; l < PAIRS; l++) {
            lane[l] = fma_flushed(weights[2 * l + 1], rounded[2 * l + 1], lane[l]);
            lane[l] = fma_flushed(weights[2 * l], rounded[2 * l], lane[l]);
        }
    }
    for (size_t n = PAIRS / 2; n >= 1; n /= 2)
        for (size_t l = 0; l < n; l++) lane[l] = flushed(lane[l] + lane[l + n]);
    return lane[0];
}

void moe_pack_pairs_scalar(float *y, const float *x, size_t k) {
    for (size_t i = 0; i < moe_layout_padded(MOE_LAYOUT_PAIRS, k); i++) {
        const uint16_t rounded = moe_bf16_of_float(i < k ? x[i] : 0);
        memcpy((unsigned char *)y + i * sizeof rounded, &rounded, sizeof rounded);
    }
}
