#ifndef MOE_KERNELS_SIMD_LANES_H
#define MOE_KERNELS_SIMD_LANES_H
/* Sums in lanes: MOE_LANES / VEC vectors, vector v holding lanes v * VEC and on. */

enum { LANE_VECS = MOE_LANES / VEC };

/* The fixed tree over n vectors, a power of two. */
MOE_INLINE float v_tree_of(vec *v, size_t n) {
    MOE_UNROLL
    for (size_t h = n / 2; h >= 1; h /= 2) {
        MOE_UNROLL
        for (size_t i = 0; i < h; i++) v[i] = v_add(v[i], v[i + h]);
    }
    return v_tree(v[0]);
}

#endif
