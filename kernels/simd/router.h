#include "kernels/simd/exp.h"
#include "kernels/simd/lanes.h"

/* e[i] = exp(x[i] - max) in y, and their sum in lanes. */
static float exp_all(float *y, const float *x, size_t n, float max) {
    vec lane[LANE_VECS];
    for (size_t v = 0; v < LANE_VECS; v++) lane[v] = v_set1(0);
    for (size_t i = 0; i < n; i += MOE_LANES) {
        MOE_UNROLL
        for (size_t v = 0; v < LANE_VECS; v++) {
            const size_t at = i + v * VEC, left = at < n ? n - at : 0, here = left < VEC ? left : VEC;
            const vec e = v_exp(v_sub(v_load_n(x + at, here), v_set1(max)));
            v_store_n(y + at, e, here);
            lane[v] = v_add(lane[v], v_select(v_first(here), e, v_set1(0)));
        }
    }
    return v_tree_of(lane, LANE_VECS);
}

void MOE_NAME(softmax)(float *y, const float *x, size_t n) {
    vec most = v_set1(x[0]);
    for (size_t i = 0; i < n; i += VEC) {
        const size_t here = n - i < VEC ? n - i : VEC;
        most = v_max(v_select(v_first(here), v_load_n(x + i, here), most), most);
    }
    float lane[VEC];
    v_store(lane, most);
    float max = lane[0];
    for (size_t l = 1; l < VEC; l++)
        if (lane[l] > max) max = lane[l];

    const vec z = v_set1(exp_all(y, x, n, max));
    for (size_t i = 0; i < n; i += VEC) {
        const size_t here = n - i < VEC ? n - i : VEC;
        v_store_n(y + i, v_div(v_load_n(y + i, here), z), here);
    }
}

/* The first of the largest p, all of which are numbers; those chosen before are negative. Indices are counted
 * in floats, exact up to 2^24. */
static size_t first_largest(const float *p, size_t n) {
    float lane[VEC], value[VEC], index[VEC];
    for (size_t l = 0; l < VEC; l++) lane[l] = (float)l;
    vec best = v_set1(-1), where = v_set1(0), here = v_load(lane);
    size_t i = 0;
    for (; i + VEC <= n; i += VEC, here = v_add(here, v_set1(VEC))) {
        const vec x = v_load(p + i);
        const mask more = v_gt(x, best);
        best = v_select(more, x, best);
        where = v_select(more, here, where);
    }
    const vec x = v_select(v_first(n - i), v_load_n(p + i, n - i), v_set1(-1));
    const mask more = v_gt(x, best);
    v_store(value, v_select(more, x, best));
    v_store(index, v_select(more, here, where));
    size_t first = 0;
    for (size_t l = 1; l < VEC; l++)
        if (value[l] > value[first] || (value[l] == value[first] && index[l] < index[first])) first = l;
    return (size_t)index[first];
}

void MOE_NAME(router_softmax_topk)(uint32_t *ids, float *weights, const float *logits, float *scratch,
                                   size_t n, size_t top_k, bool renorm) {
    MOE_NAME(softmax)(scratch, logits, n);
    const bool numbers = scratch[0] == scratch[0]; /* if one is NaN all are */
    float total = 0;
    for (size_t j = 0; j < top_k; j++) {
        /* no NaN is larger than the first not chosen */
        const size_t best = numbers ? first_largest(scratch, n) : j;
        ids[j] = (uint32_t)best;
        weights[j] = scratch[best];
        total += weights[j];
        scratch[best] = -1;
    }
    for (size_t j = 0; renorm && j < top_k; j++) weights[j] /= total;
}
