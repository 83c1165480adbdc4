#include "kernels/scalar/table.h"

const struct moe_kernels moe_kernels_scalar = {
#define MOE_OP(op) .op = moe_##op##_scalar,
#include "kernels/ops.def"
#undef MOE_OP
    .format =
        {
#define MOE_FORMAT(id, name, bits, layout)                                                                   \
    [MOE_FORMAT_##id] = {.gemm = moe_gemm_scalar, .widen = moe_widen_scalar},
#include "base/format.def"
#undef MOE_FORMAT
        },
    .layout =
        {
            [MOE_LAYOUT_NATURAL] = {.pack = moe_pack_natural_scalar},
            [MOE_LAYOUT_EVEN_ODD] = {.pack = moe_pack_even_odd_scalar},
            [MOE_LAYOUT_QUADS] = {.pack = moe_pack_quads_scalar},
            [MOE_LAYOUT_PAIRS] = {.pack = moe_pack_pairs_scalar},
        },
};
