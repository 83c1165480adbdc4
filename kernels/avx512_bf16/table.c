#include "kernels/avx512_bf16/vec.h"

const struct moe_kernels MOE_NAME(kernels) = {
    .probe_pairs = MOE_NAME(probe_pairs),
    .format = {[MOE_FORMAT_BF16_PAIRS] = {.gemm = MOE_NAME(gemm_bf16_pairs)},
               [MOE_FORMAT_PACKED_PAIRS] = {.gemm = MOE_NAME(gemm_packed_pairs)}},
};
