/* Packed weights, by fp32 activations; and their widening. */
#include "kernels/simd/fp32.h"
#include "kernels/simd/packed_gemm.h"

void MOE_NAME(gemm_packed)(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                           size_t first, size_t n_cols) {
    gemm(y, ld_y, x, w, first, n_cols);
}

/* A block in natural order: y [MOE_PACKED_WEIGHTS] */
MOE_INLINE void store_block(float *y, struct packed_row *row, size_t b) {
    const unsigned char *high = take_escape(row, b);
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        words part[PARTS];
        load_words(part, row, b, high, u);
        MOE_UNROLL
        for (size_t s = 0; s < PARTS; s++) {
            float *to = y + s * MOE_LANES + 2 * u * VEC;
            vec a, z;
            v_zip(half_of(part[s], 0), half_of(part[s], 1), &a, &z);
            v_store(to, a);
            v_store(to + VEC, z);
        }
    }
}

void MOE_NAME(widen_packed)(float *y, const struct moe_matrix *w, size_t r) {
    const size_t n_whole = w->cols / MOE_PACKED_WEIGHTS, left = w->cols % MOE_PACKED_WEIGHTS;
    struct packed_row row;
    open_row(&row, w, r, 0);
    for (size_t b = 0; b < n_whole; b++) store_block(y + b * MOE_PACKED_WEIGHTS, &row, b);
    if (!left) return;
    float room[MOE_PACKED_WEIGHTS];
    store_block(room, &row, n_whole);
    memcpy(y + n_whole * MOE_PACKED_WEIGHTS, room, left * sizeof *y);
}
