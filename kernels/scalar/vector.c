/* Element by element: clamp, add, scale, mul, axpy. */
#include <math.h>

#include "kernels/scalar/table.h"

void moe_clamp_scalar(float *x, size_t n, float limit) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] < -limit ? -limit : x[i] > limit ? limit : x[i];
}

void moe_add_scalar(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

void moe_scale_scalar(float *y, const float *x, size_t n, float a) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * a;
}

void moe_mul_scalar(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] *= x[i];
}

void moe_axpy_scalar(float *y, const float *x, size_t n, float a) {
    for (size_t i = 0; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}
