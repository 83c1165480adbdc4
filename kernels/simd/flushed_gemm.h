/* gemm() with subnormal numbers as zeros (kernels/simd/subnormals.h). */
static MOE_APART void gemm_between(float *y, size_t ld_y, const struct moe_rows *x,
                                   const struct moe_matrix *w, size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

MOE_INLINE void flushed_gemm(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                             size_t first, size_t n_cols) {
    const flush_state before = flush_begin();
    gemm_between(y, ld_y, x, w, first, n_cols);
    flush_end(before);
}
