#include "kernels/scalar/table.h"

static void pack(float *y, const float *x, size_t k, enum moe_layout layout) {
    const size_t block = moe_layout_block(layout);
    for (size_t i = 0; i < moe_layout_padded(layout, k); i++)
        y[i / block * block + moe_layout_place(layout, i % block)] = i < k ? x[i] : 0;
}

void moe_pack_natural_scalar(float *y, const float *x, size_t k) {
    pack(y, x, k, MOE_LAYOUT_NATURAL);
}

void moe_pack_even_odd_scalar(float *y, const float *x, size_t k) {
    pack(y, x, k, MOE_LAYOUT_EVEN_ODD);
}

void moe_pack_quads_scalar(float *y, const float *x, size_t k) {
    pack(y, x, k, MOE_LAYOUT_QUADS);
}
