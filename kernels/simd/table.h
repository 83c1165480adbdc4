/* The table of an instruction set that has every kernel of this folder. What is absent stays with the next
 * slower instruction set. */

#define MOE_TABLE MOE_NAME(kernels)
const struct moe_kernels MOE_TABLE =
    {
        .rmsnorm = MOE_NAME(rmsnorm),
        .layernorm = MOE_NAME(layernorm),
        .rope_half = MOE_NAME(rope_half),
        .rope_interleaved = MOE_NAME(rope_interleaved),
        .clamp = MOE_NAME(clamp),
        .add = MOE_NAME(add),
        .scale = MOE_NAME(scale),
        .mul = MOE_NAME(mul),
        .axpy = MOE_NAME(axpy),
        .swiglu = MOE_NAME(swiglu),
        .swiglu_clamped = MOE_NAME(swiglu_clamped),
        .sigmoid = MOE_NAME(sigmoid),
        .softmax = MOE_NAME(softmax),
        .attention_block = MOE_NAME(attention_block),
        .router_softmax_topk = MOE_NAME(router_softmax_topk),
        .probe_read = MOE_NAME(probe_read),
        .probe_read_ahead = MOE_NAME(probe_read_ahead),
        .probe_read_streams = MOE_NAME(probe_read_streams),
        .probe_fma = MOE_NAME(probe_fma),
        .probe_pairs = MOE_NAME(probe_pairs),
        .format =
            {
                [MOE_FORMAT_F32] = {.gemm = MOE_NAME(gemm_f32)},
                [MOE_FORMAT_BF16] = {.gemm = MOE_NAME(gemm_bf16), .widen = MOE_NAME(widen_bf16)},
                [MOE_FORMAT_F16] = {.gemm = MOE_NAME(gemm_f16), .widen = MOE_NAME(widen_f16)},
                [MOE_FORMAT_BF16_PAIRS] = {.gemm = MOE_NAME(gemm_bf16_pairs), .widen = MOE_NAME(widen_bf16)},
                [MOE_FORMAT_PACKED] = {.gemm = MOE_NAME(gemm_packed), .widen = MOE_NAME(widen_packed)},
                [MOE_FORMAT_PACKED_PAIRS] = {.gemm = MOE_NAME(gemm_packed_pairs),
                                             .widen = MOE_NAME(widen_packed)},
                [MOE_FORMAT_FP8] = {.gemm = MOE_NAME(gemm_fp8), .widen = MOE_NAME(widen_fp8)},
                [MOE_FORMAT_MXFP4] = {.gemm = MOE_NAME(gemm_mxfp4), .widen = MOE_NAME(widen_mxfp4)},
                [MOE_FORMAT_AFFINE2] = {.gemm = MOE_NAME(gemm_affine2), .widen = MOE_NAME(widen_affine2)},
                [MOE_FORMAT_AFFINE3] = {.gemm = MOE_NAME(gemm_affine3), .widen = MOE_NAME(widen_affine3)},
                [MOE_FORMAT_AFFINE4] = {.gemm = MOE_NAME(gemm_affine4), .widen = MOE_NAME(widen_affine4)},
                [MOE_FORMAT_AFFINE5] = {.gemm = MOE_NAME(gemm_affine5), .widen = MOE_NAME(widen_affine5)},
                [MOE_FORMAT_AFFINE6] = {.gemm = MOE_NAME(gemm_affine6), .widen = MOE_NAME(widen_affine6)},
                [MOE_FORMAT_AFFINE8] = {.gemm = MOE_NAME(gemm_affine8), .widen = MOE_NAME(widen_affine8)},
            },
        .layout =
            {
                [MOE_LAYOUT_EVEN_ODD] = {.pack = MOE_NAME(pack_even_odd)},
                [MOE_LAYOUT_QUADS] = {.pack = MOE_NAME(pack_quads)},
                [MOE_LAYOUT_PAIRS] = {.pack = MOE_NAME(pack_pairs)},
            },
};
