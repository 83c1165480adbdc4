#include <math.h>

#include "kernels/simd/lanes.h"

/* Sum in lanes of x - mean, or of its squares. */
MOE_INLINE float sum_lanes(const float *x, size_t n, vec mean, const bool squares) {
    vec lane[LANE_VECS];
    for (size_t v = 0; v < LANE_VECS; v++) lane[v] = v_set1(0);
    size_t i = 0;
    for (; i + MOE_LANES <= n; i += MOE_LANES) {
        MOE_UNROLL
        for (size_t v = 0; v < LANE_VECS; v++) {
            const vec d = v_sub(v_load(x + i + v * VEC), mean);
            lane[v] = squares ? v_fma(d, d, lane[v]) : v_add(d, lane[v]);
        }
    }
    MOE_UNROLL
    for (size_t v = 0; v < LANE_VECS; v++) {
        const size_t at = i + v * VEC, left = at < n ? n - at : 0, here = left < VEC ? left : VEC;
        const vec d = v_select(v_first(here), v_sub(v_load_n(x + at, here), mean), v_set1(0));
        lane[v] = squares ? v_fma(d, d, lane[v]) : v_add(d, lane[v]);
    }
    return v_tree_of(lane, LANE_VECS);
}

void MOE_NAME(rmsnorm)(float *y, const float *x, const float *gain, size_t n, float eps) {
    const vec r = v_set1(1 / sqrtf(sum_lanes(x, n, v_set1(0), true) / (float)n + eps));
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, v_mul(v_load(gain + i), v_mul(v_load(x + i), r)));
    v_store_n(y + i, v_mul(v_load_n(gain + i, n - i), v_mul(v_load_n(x + i, n - i), r)), n - i);
}

void MOE_NAME(layernorm)(float *y, const float *x, const float *gain, const float *bias, size_t n,
                         float eps) {
    const vec mean = v_set1(sum_lanes(x, n, v_set1(0), false) / (float)n);
    const vec r = v_set1(1 / sqrtf(sum_lanes(x, n, mean, true) / (float)n + eps));
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        const vec v = v_mul(v_mul(v_sub(v_load(x + i), mean), r), v_load(gain + i));
        v_store(y + i, bias ? v_add(v, v_load(bias + i)) : v);
    }
    const size_t left = n - i;
    const vec v = v_mul(v_mul(v_sub(v_load_n(x + i, left), mean), r), v_load_n(gain + i, left));
    v_store_n(y + i, bias ? v_add(v, v_load_n(bias + i, left)) : v, left);
}
