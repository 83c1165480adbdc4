#include "kernels/scalar/table.h"

const struct moe_kernels moe_kernels_scalar = {
#define MOE_OP(op) .op = moe_##op##_scalar,
#include "kernels/ops.def"
#undef MOE_OP
    .format =
        {
            [MOE_FORMAT_F32] = {.gemm = moe_gemm_f32_scalar, .widen = moe_widen_f32_scalar},
            [MOE_FORMAT_BF16] = {.gemm = moe_gemm_bf16_scalar, .widen = moe_widen_bf16_scalar},
            [MOE_FORMAT_F16] = {.gemm = moe_gemm_f16_scalar, .widen = moe_widen_f16_scalar},
        },
    .layout =
        {
            [MOE_LAYOUT_NATURAL] = {.pack = moe_pack_natural_scalar},
            [MOE_LAYOUT_EVEN_ODD] = {.pack = moe_pack_even_odd_scalar},
        },
};
