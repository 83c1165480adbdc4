#include <math.h>

#include "kernels/scalar/exp.h"
#include "kernels/scalar/table.h"

static float sigmoid(float x) {
    return 1 / (1 + moe_exp(-x));
}

void moe_swiglu_scalar(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i];
        y[i] = g / (1 + moe_exp(-g)) * up[i];
    }
}

void moe_swiglu_clamped_scalar(float *y, const float *gate, const float *up, size_t n, float alpha,
                               float limit) {
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i] > limit ? limit : gate[i];
        const float u = up[i] < -limit ? -limit : up[i] > limit ? limit : up[i];
        y[i] = (u + 1) * (g * sigmoid(alpha * g));
    }
}

void moe_sigmoid_scalar(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = sigmoid(x[i]);
}

void moe_softplus_scalar(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] > 20 ? x[i] : (float)log1p(exp((double)x[i]));
}
