/* Products of activations in bf16 (kernels/simd/gemm.h): a block of 32 elements is 16 words of two. */
#include "kernels/simd/subnormals.h"

enum { HALVES = 1 };

MOE_INLINE vec multiply(vec w, vec x, vec sum) {
    return v_fma_pairs(w, x, sum);
}

/* Words of two bfloat16, as they are. */
MOE_INLINE vec half_of(words w, const int half) {
    (void)half;
    return v_of_bits(w);
}
