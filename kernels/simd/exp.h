#ifndef MOE_KERNELS_SIMD_EXP_H
#define MOE_KERNELS_SIMD_EXP_H
/* moe_exp of kernels/scalar/exp.h on vectors: the same operations in the same order. */

#include "kernels/scalar/exp.h"

MOE_INLINE vec v_exp(vec x) {
    x = v_min(v_set1(MOE_EXP_MAX), x);
    x = v_max(v_set1(MOE_EXP_MIN), x);
    const vec t = v_fma(x, v_set1(MOE_EXP_LOG2E), v_set1(MOE_EXP_MAGIC)), n = v_sub(t, v_set1(MOE_EXP_MAGIC));
    vec r = v_fma(n, v_set1(-MOE_EXP_LN2_HI), x);
    r = v_fma(n, v_set1(-MOE_EXP_LN2_LO), r);
    vec p = v_fma(r, v_set1(MOE_EXP_C6), v_set1(MOE_EXP_C5));
    p = v_fma(r, p, v_set1(MOE_EXP_C4));
    p = v_fma(r, p, v_set1(MOE_EXP_C3));
    p = v_fma(r, p, v_set1(MOE_EXP_C2));
    p = v_fma(r, p, v_set1(1));
    p = v_fma(r, p, v_set1(1));
    return v_times_2_to(p, n, t);
}

#endif
