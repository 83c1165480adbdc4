#include <math.h>

#include "kernels/simd/lanes.h"

void MOE_NAME(rmsnorm)(float *y, const float *x, const float *gain, size_t n, float eps) {
    vec lane[LANE_VECS];
    for (size_t v = 0; v < LANE_VECS; v++) lane[v] = v_set1(0);
    size_t i = 0;
    for (; i + MOE_LANES <= n; i += MOE_LANES) {
        MOE_UNROLL
        for (size_t v = 0; v < LANE_VECS; v++) {
            const vec e = v_load(x + i + v * VEC);
            lane[v] = v_fma(e, e, lane[v]);
        }
    }
    MOE_UNROLL
    for (size_t v = 0; v < LANE_VECS; v++) {
        const size_t at = i + v * VEC, left = at < n ? n - at : 0;
        const vec e = v_load_n(x + at, left < VEC ? left : VEC);
        lane[v] = v_fma(e, e, lane[v]);
    }
    const vec r = v_set1(1 / sqrtf(v_tree_of(lane, LANE_VECS) / (float)n + eps));
    for (i = 0; i + VEC <= n; i += VEC) v_store(y + i, v_mul(v_load(gain + i), v_mul(v_load(x + i), r)));
    v_store_n(y + i, v_mul(v_load_n(gain + i, n - i), v_mul(v_load_n(x + i, n - i), r)), n - i);
}
