/* The table of an instruction set that has every kernel of this folder. What is absent stays with the next
 * slower instruction set. */

const struct moe_kernels MOE_NAME(kernels) = {
    .rmsnorm = MOE_NAME(rmsnorm),
    .layernorm = MOE_NAME(layernorm),
    .rope_half = MOE_NAME(rope_half),
    .rope_interleaved = MOE_NAME(rope_interleaved),
    .clamp = MOE_NAME(clamp),
    .add = MOE_NAME(add),
    .scale = MOE_NAME(scale),
    .axpy = MOE_NAME(axpy),
    .swiglu = MOE_NAME(swiglu),
    .swiglu_clamped = MOE_NAME(swiglu_clamped),
    .sigmoid = MOE_NAME(sigmoid),
    .softmax = MOE_NAME(softmax),
    .attention_block = MOE_NAME(attention_block),
    .router_softmax_topk = MOE_NAME(router_softmax_topk),
    .probe_read = MOE_NAME(probe_read),
    .probe_fma = MOE_NAME(probe_fma),
    .format =
        {
            [MOE_FORMAT_F32] = {.gemm = MOE_NAME(gemm_f32)},
            [MOE_FORMAT_BF16] = {.gemm = MOE_NAME(gemm_bf16), .widen = MOE_NAME(widen_bf16)},
            [MOE_FORMAT_F16] = {.gemm = MOE_NAME(gemm_f16), .widen = MOE_NAME(widen_f16)},
        },
    .layout = {[MOE_LAYOUT_EVEN_ODD] = {.pack = MOE_NAME(pack_even_odd)}},
};
