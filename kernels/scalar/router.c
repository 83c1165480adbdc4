#include "kernels/scalar/exp.h"
#include "kernels/scalar/lanes.h"
#include "kernels/scalar/table.h"

void moe_softmax_scalar(float *y, const float *x, size_t n) {
    float max = x[0], lane[MOE_LANES] = {0};
    for (size_t i = 1; i < n; i++)
        if (x[i] > max) max = x[i];
    for (size_t i = 0; i < moe_padded(n); i++)
        lane[i % MOE_LANES] += i < n ? (y[i] = moe_exp(x[i] - max)) : 0;
    const float z = moe_tree_sum(lane, MOE_LANES);
    for (size_t i = 0; i < n; i++) y[i] /= z;
}

void moe_router_softmax_topk_scalar(uint32_t *ids, float *weights, const float *logits, float *scratch,
                                    size_t n, size_t top_k, bool renorm) {
    moe_softmax_scalar(scratch, logits, n);

    /* a probability is NaN or at least 0: what is chosen turns negative */
    float total = 0;
    for (size_t j = 0; j < top_k; j++) {
        size_t best = 0;
        while (scratch[best] < 0) best++;
        for (size_t i = best + 1; i < n; i++)
            if (scratch[i] > scratch[best]) best = i;
        ids[j] = (uint32_t)best;
        weights[j] = scratch[best];
        total += weights[j];
        scratch[best] = -1;
    }
    for (size_t j = 0; renorm && j < top_k; j++) weights[j] /= total;
}
