/* GEMM of a format whose weights are numbers, of WEIGHT_BYTES each. */
enum { BLOCK_BYTES = MOE_LANES * WEIGHT_BYTES, PADDED_TO = MOE_LANES, FEW_ROWS = 1, WIDEN_FIRST = 0 };

#include "kernels/simd/gemm.h"

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
        float *out = g->panel + c * PANEL_LD;
        for (size_t b = 0; b < n; b++) widen_half(out + b * HALF, w + b * BLOCK_BYTES, half);
        if (n == strip.n) continue;
        unsigned char room[BLOCK_BYTES];
        copy_tail(room, p, column(g, c));
        widen_half(out + n * HALF, room, half);
    }
}

/* Adds one block of the only row. */
MOE_INLINE void add_block(vec (*sum)[2], const float *x, const unsigned char *block) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (int half = 0; half < 2; half++) {
            vec *to = &sum[u][half];
            *to = v_fma(load_half(block, u, half), v_load(x + (size_t)half * HALF + u * VEC), *to);
        }
    }
}

MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end) {
    const unsigned char *const stop = moe_matrix_row(p->w, p->w->rows); /* the next call goes on from here */
    const size_t n_blocks = p->w->cols / MOE_LANES;
    const float *x = product_row(p, 0);
    for (size_t c = first; c < end; c++) {
        const unsigned char *w = moe_matrix_row(p->w, c), *at = w + DOT_AHEAD;
        const size_t lines = at < stop ? BLOCK_BYTES / LINE_BYTES : 0;
        vec sum[UNITS][2];
        vec unit[UNITS][TILE_MAX];
        MOE_UNROLL
        for (size_t u = 0; u < UNITS; u++) sum[u][0] = sum[u][1] = v_set1(0);
        for (size_t b = 0; b < n_blocks; b++) {
            for (size_t l = 0; l < lines; l++, at += LINE_BYTES) __builtin_prefetch(at, 0, 2);
            add_block(sum, x + b * MOE_LANES, w + b * BLOCK_BYTES);
        }
        if (p->w->cols % MOE_LANES) {
            unsigned char room[BLOCK_BYTES];
            copy_tail(room, p, c);
            add_block(sum, x + n_blocks * MOE_LANES, room);
        }
        MOE_UNROLL
        for (size_t u = 0; u < UNITS; u++) unit[u][0] = v_add(sum[u][0], sum[u][1]);
        finish(p->y + c, unit, 1);
    }
}
