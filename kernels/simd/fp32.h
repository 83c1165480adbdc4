/* Products of fp32 activations (kernels/simd/gemm.h): a block of 32 lanes, in two halves. */
enum { HALVES = 2 };

MOE_INLINE vec multiply(vec w, vec x, vec sum) {
    return v_fma(w, x, sum);
}

/* Of words of two bfloat16 the even elements, or the odd ones. */
MOE_INLINE vec half_of(words w, const int half) {
    return v_of_bits(half ? w_and(w, w_set1(0xffff0000)) : w_left(w, 16));
}
