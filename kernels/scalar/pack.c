#include <string.h>

#include "kernels/scalar/table.h"

void moe_pack_natural_scalar(float *y, const float *x, size_t k) {
    memcpy(y, x, k * sizeof *y);
    for (size_t i = k; i < moe_padded(k); i++) y[i] = 0;
}

void moe_pack_even_odd_scalar(float *y, const float *x, size_t k) {
    for (size_t i = 0; i < moe_padded(k); i++) {
        const size_t block = i / MOE_LANES * MOE_LANES, in_block = i % MOE_LANES;
        y[block + in_block % 2 * (MOE_LANES / 2) + in_block / 2] = i < k ? x[i] : 0;
    }
}
