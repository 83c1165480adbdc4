/* GEMM of a format whose weights are numbers, of WEIGHT_BYTES each. The file that includes it says how a
 * vector of a block is widened: load_half(block, u, half), lanes [u * VEC, (u + 1) * VEC) of a half of 16. */
enum {
    BLOCK_BYTES = MOE_LANES * WEIGHT_BYTES,
    STREAM_BYTES = BLOCK_BYTES,
    PADDED_TO = MOE_LANES,
    PANELS = 1,
    FEW_ROWS = PASS_ROWS > 4 ? 10 : 4 /* two passes of four rows lose to tiles */
};

#include "kernels/simd/gemm.h"

#include "kernels/simd/few.h"

MOE_INLINE void widen_half(float *out, const unsigned char *block, const int half) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) v_store(out + u * VEC, load_half(block, u, half));
}

/* The last, partial block of a column, as a whole one. */
MOE_INLINE void copy_tail(unsigned char *room, const struct product *p, size_t c) {
    const size_t left = p->w->cols % MOE_LANES;
    memset(room, 0, BLOCK_BYTES);
    memcpy(room, moe_matrix_row(p->w, c) + (p->w->cols - left) * WEIGHT_BYTES, left * WEIGHT_BYTES);
}

MOE_INLINE void widen_group(struct group *g, const struct product *p, struct strip strip, const int half) {
    const size_t n_whole = p->w->cols / MOE_LANES - strip.at, n = strip.n < n_whole ? strip.n : n_whole;
    for (size_t c = 0; c < TILE_COLS; c++) {
        const unsigned char *w = moe_matrix_row(p->w, column(g, c)) + strip.at * BLOCK_BYTES;
        float *out = g->panel[0] + c * PANEL_LD;
        for (size_t b = 0; b < n; b++) widen_half(out + b * HALF, w + b * BLOCK_BYTES, half);
        if (n == strip.n) continue;
        unsigned char room[BLOCK_BYTES];
        copy_tail(room, p, column(g, c));
        widen_half(out + n * HALF, room, half);
    }
}

/* Adds a block to the sums of `rows` rows, units [u, u + n_units). */
MOE_INLINE void add_block(few_sums sum, const float *const *x, size_t b, const unsigned char *block,
                          const size_t rows, size_t u, const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        vec w[HALVES];
        MOE_UNROLL
        for (int h = 0; h < HALVES; h++) w[h] = load_half(block, u + s, h);
        few_add(sum[s], x, b * BLOCK_FLOATS + (u + s) * VEC, w, rows);
    }
}

MOE_INLINE void dots(const struct product *p, size_t i, size_t c, const size_t rows, const size_t n_units,
                     struct ahead *ahead) {
    const unsigned char *w = moe_matrix_row(p->w, c);
    const size_t n_blocks = p->w->cols / MOE_LANES;
    const float *x[PASS_ROWS];
    vec unit[UNITS][TILE_MAX];
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++) x[r] = product_row(p, i + r);
    for (size_t u = 0; u < UNITS; u += n_units) {
        few_sums sum;
        few_clear(sum, rows, n_units);
        for (size_t b = 0; b < n_blocks; b++) {
            if (u == 0) ask_ahead(ahead);
            add_block(sum, x, b, w + b * BLOCK_BYTES, rows, u, n_units);
        }
        if (p->w->cols % MOE_LANES) {
            unsigned char room[BLOCK_BYTES];
            copy_tail(room, p, c);
            add_block(sum, x, n_blocks, room, rows, u, n_units);
        }
        few_join(unit, sum, rows, u, n_units);
    }
    few_put(p, i, c, unit, rows);
}
