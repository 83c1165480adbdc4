#include "kernels/scalar/exp.h"
#include "kernels/scalar/table.h"

void moe_swiglu_scalar(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i];
        y[i] = g / (1 + moe_exp(-g)) * up[i];
    }
}

void moe_sigmoid_scalar(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = 1 / (1 + moe_exp(-x[i]));
}
