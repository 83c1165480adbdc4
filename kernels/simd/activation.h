#include "kernels/simd/exp.h"

MOE_INLINE vec swiglu(vec gate, vec up) {
    return v_mul(v_div(gate, v_add(v_set1(1), v_exp(v_neg(gate)))), up);
}

MOE_INLINE vec sigmoid(vec x) {
    return v_div(v_set1(1), v_add(v_set1(1), v_exp(v_neg(x))));
}

MOE_INLINE vec swiglu_clamped(vec gate, vec up, float alpha, float limit) {
    const vec g = v_min(v_set1(limit), gate), u = v_min(v_set1(limit), v_max(v_set1(-limit), up));
    return v_mul(v_add(u, v_set1(1)), v_mul(g, sigmoid(v_mul(v_set1(alpha), g))));
}

void MOE_NAME(swiglu)(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, swiglu(v_load(gate + i), v_load(up + i)));
    v_store_n(y + i, swiglu(v_load_n(gate + i, n - i), v_load_n(up + i, n - i)), n - i);
}

void MOE_NAME(swiglu_clamped)(float *y, const float *gate, const float *up, size_t n, float alpha,
                              float limit) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC)
        v_store(y + i, swiglu_clamped(v_load(gate + i), v_load(up + i), alpha, limit));
    v_store_n(y + i, swiglu_clamped(v_load_n(gate + i, n - i), v_load_n(up + i, n - i), alpha, limit), n - i);
}

void MOE_NAME(sigmoid)(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, sigmoid(v_load(x + i)));
    v_store_n(y + i, sigmoid(v_load_n(x + i, n - i)), n - i);
}
