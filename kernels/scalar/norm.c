#include <math.h>

#include "kernels/scalar/lanes.h"
#include "kernels/scalar/table.h"

void moe_rmsnorm_scalar(float *y, const float *x, const float *gain, size_t n, float eps) {
    float lane[MOE_LANES] = {0};
    for (size_t i = 0; i < moe_padded(n); i++) {
        const float v = i < n ? x[i] : 0;
        lane[i % MOE_LANES] = fmaf(v, v, lane[i % MOE_LANES]);
    }
    const float r = 1 / sqrtf(moe_tree_sum(lane, MOE_LANES) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = gain[i] * (x[i] * r);
}

void moe_layernorm_scalar(float *y, const float *x, const float *gain, const float *bias, size_t n,
                          float eps) {
    float lane[MOE_LANES] = {0};
    for (size_t i = 0; i < moe_padded(n); i++) lane[i % MOE_LANES] += i < n ? x[i] : 0;
    const float mean = moe_tree_sum(lane, MOE_LANES) / (float)n;

    float square[MOE_LANES] = {0};
    for (size_t i = 0; i < moe_padded(n); i++) {
        const float d = i < n ? x[i] - mean : 0;
        square[i % MOE_LANES] = fmaf(d, d, square[i % MOE_LANES]);
    }
    const float r = 1 / sqrtf(moe_tree_sum(square, MOE_LANES) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        const float v = (x[i] - mean) * r * gain[i];
        y[i] = bias ? v + bias[i] : v;
    }
}
