#ifndef MOE_KERNELS_AVX512_BF16_VEC_H
#define MOE_KERNELS_AVX512_BF16_VEC_H
/* The vector of avx512, and an instruction for products in pairs. */

#include "kernels/avx512/vec.h"

#undef MOE_NAME
#define MOE_NAME(op) moe_##op##_avx512_bf16

moe_gemm_fn MOE_NAME(gemm_bf16_pairs), MOE_NAME(gemm_packed_pairs);
moe_probe_pairs_fn MOE_NAME(probe_pairs);

static inline vec v_fma_pairs(vec a, vec b, vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

#endif
