#ifndef MOE_KERNELS_SIMD_DECLARE_H
#define MOE_KERNELS_SIMD_DECLARE_H
/* Every kernel that an instruction set may have, under its own name: MOE_NAME(op) is moe_<op>_<isa>. */

#define MOE_OP(op) moe_##op##_fn MOE_NAME(op);
#include "kernels/ops.def"
#undef MOE_OP

moe_gemm_fn MOE_NAME(gemm_f32), MOE_NAME(gemm_bf16), MOE_NAME(gemm_f16), MOE_NAME(gemm_packed),
    MOE_NAME(gemm_fp8), MOE_NAME(gemm_mxfp4), MOE_NAME(gemm_affine2), MOE_NAME(gemm_affine3),
    MOE_NAME(gemm_affine4), MOE_NAME(gemm_affine5), MOE_NAME(gemm_affine6), MOE_NAME(gemm_affine8);
moe_widen_fn MOE_NAME(widen_bf16), MOE_NAME(widen_f16), MOE_NAME(widen_packed), MOE_NAME(widen_fp8),
    MOE_NAME(widen_mxfp4), MOE_NAME(widen_affine2), MOE_NAME(widen_affine3), MOE_NAME(widen_affine4),
    MOE_NAME(widen_affine5), MOE_NAME(widen_affine6), MOE_NAME(widen_affine8);
moe_pack_fn MOE_NAME(pack_even_odd), MOE_NAME(pack_quads), MOE_NAME(pack_pairs);
moe_gemm_fn MOE_NAME(gemm_bf16_pairs), MOE_NAME(gemm_packed_pairs);

/* Loops over arrays that live in registers must be unrolled whole. */
#if defined(__clang__)
#define MOE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MOE_UNROLL _Pragma("GCC unroll 32")
#endif
#define MOE_INLINE static inline __attribute__((always_inline))
#define MOE_APART  __attribute__((noinline))

#endif
