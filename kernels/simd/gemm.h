/* GEMM of one format. The file that includes it says what a weight takes (enum { WEIGHT_BYTES }) and how a
 * unit of a block is widened: load_unit(block, u, &low, &high): lanes [u * VEC, (u + 1) * VEC), and those 16
 * further on, so that the tree's first step, lane l + lane l + 16, adds the two sums of a unit. A narrow
 * instruction set takes the units of a tile one after the other, going over its rows once for each: so the
 * tile has as many rows and columns as two sums per product leave room for.
 *
 * Weights come from memory, and a tile of several columns reads as many streams, which the hardware's
 * prefetchers follow badly. So a single row takes one column after the other, all units at once: one stream,
 * read once. With more rows the tiles of a group of columns ask for the next group's weights, in the order of
 * memory, spread over as many tiles as it takes to ask for about a line per block. docs/kernels.md has the
 * measurements. */
#include <string.h>

enum {
    UNITS = MOE_LANES / 2 / VEC,
    BLOCK_BYTES = MOE_LANES * WEIGHT_BYTES,
    TILE_MAX = TILE_ROWS * TILE_COLS,
    ROWS_AT_ONCE = 64, /* of x, 512 KiB at k = 2048: they stay in the second level cache */
    LINE_BYTES = 64,
    DOT_AHEAD = 8 << 10, /* how far ahead of a single row's products weights are asked for */
    /* lines of weights of a group per block and pass over them */
    GROUP_LINES = (TILE_COLS * BLOCK_BYTES / LINE_BYTES + UNITS - 1) / UNITS
};

/* Weights to ask for while a tile is computed: `lines` of them from `at` on with every block. */
struct ahead {
    const unsigned char *at;
    size_t lines;
};

/* Sums of a tile: [unit][product][low, high]. */
typedef vec tile_sums[TILE_MAX][2];

/* Adds one block: x[r] and w[c] point to it; the n_units units from u on. Half by half, and the compiler may
 * not keep the words of a 16-bit format from one half to the next: of 16 registers 12 are sums, and it would
 * rather spill those.
 */
MOE_INLINE void add_block(tile_sums *sum, const float *const *x, const unsigned char *const *w, size_t x_at,
                          size_t w_at, const size_t rows, const size_t cols, size_t u, const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        MOE_UNROLL
        for (int half = 0; half < 2; half++) {
            vec xs[TILE_ROWS];
            MOE_UNROLL
            for (size_t r = 0; r < rows; r++)
                xs[r] = v_load(x[r] + x_at + (half ? MOE_LANES / 2 : 0) + (u + s) * VEC);
            MOE_UNROLL
            for (size_t c = 0; c < cols; c++) {
                const vec ws = load_half(w[c] + w_at, u + s, half);
                MOE_UNROLL
                for (size_t r = 0; r < rows; r++) {
                    vec *to = &sum[s][r * cols + c][half];
                    *to = v_fma(ws, xs[r], *to);
                }
            }
            __asm__ volatile("" ::: "memory");
        }
    }
}

/* out [rows * cols] = rows of x times rows of w. tail: the last block of each w, padded with zeros. */
MOE_INLINE void tile(float *out, const float *const *x, const unsigned char *const *w,
                     const unsigned char *const *tail, size_t k, const size_t rows, const size_t cols,
                     const size_t n_units, struct ahead ahead) {
    vec unit[UNITS][TILE_MAX];
    const size_t n = rows * cols;
    for (size_t u = 0; u < UNITS; u += n_units) {
        tile_sums sum[UNITS];
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t i = 0; i < n; i++) sum[s][i][0] = sum[s][i][1] = v_set1(0);
        }
        for (size_t b = 0; b < k / MOE_LANES; b++) {
            for (size_t l = 0; l < ahead.lines; l++, ahead.at += LINE_BYTES)
                __builtin_prefetch(ahead.at, 0, 2);
            add_block(sum, x, w, b * MOE_LANES, b * BLOCK_BYTES, rows, cols, u, n_units);
        }
        if (k % MOE_LANES) add_block(sum, x, tail, k / MOE_LANES * MOE_LANES, 0, rows, cols, u, n_units);
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t i = 0; i < n; i++) unit[u + s][i] = v_add(sum[s][i][0], sum[s][i][1]);
        }
    }
    MOE_UNROLL
    for (size_t h = UNITS / 2; h >= 1; h /= 2) {
        MOE_UNROLL
        for (size_t u = 0; u < h; u++) {
            MOE_UNROLL
            for (size_t i = 0; i < n; i++) unit[u][i] = v_add(unit[u][i], unit[u + h][i]);
        }
    }
    size_t i = 0;
    MOE_UNROLL
    for (; i + 4 <= n; i += 4) v_tree4(out + i, unit[0][i], unit[0][i + 1], unit[0][i + 2], unit[0][i + 3]);
    MOE_UNROLL
    for (; i < n; i++) out[i] = v_tree(unit[0][i]);
}

/* What the tiles of a call share. */
struct product {
    float *y;
    size_t ld_y;
    const struct moe_rows *x;
    const struct moe_matrix *w;
};

/* Columns from c on. tail: their last blocks, padded with zeros, if k is no multiple of one. */
struct group {
    size_t c;
    unsigned char room[TILE_COLS][BLOCK_BYTES];
    const unsigned char *tail[TILE_COLS];
};

MOE_INLINE void group_open(struct group *g, const struct product *p, size_t c, const size_t n) {
    const size_t whole = p->w->cols / MOE_LANES * BLOCK_BYTES, left = p->w->cols % MOE_LANES * WEIGHT_BYTES;
    g->c = c;
    for (size_t j = 0; j < n; j++) {
        g->tail[j] = g->room[j];
        if (left == 0) continue;
        memset(g->room[j], 0, BLOCK_BYTES);
        memcpy(g->room[j], moe_matrix_row(p->w, c + j) + whole, left);
    }
}

/* One tile into y: rows from the i-th on, `cols` columns of the group from the j-th on. */
MOE_INLINE void put_tile(const struct product *p, const struct group *g, size_t i, size_t j,
                         const size_t rows, const size_t cols, const size_t n_units, struct ahead ahead) {
    const float *x[TILE_ROWS];
    const unsigned char *w[TILE_COLS];
    float out[TILE_MAX];
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++)
        x[r] = p->x->data + (p->x->index ? p->x->index[i + r] : i + r) * p->x->ld;
    MOE_UNROLL
    for (size_t c = 0; c < cols; c++) w[c] = moe_matrix_row(p->w, g->c + j + c);
    tile(out, x, w, g->tail + j, p->w->cols, rows, cols, n_units, ahead);
    for (size_t r = 0; r < rows; r++)
        memcpy(p->y + (i + r) * p->ld_y + g->c + j, out + r * cols, cols * sizeof *out);
}

/* `cols` columns from c on for rows [from, to); dot_cols of them at once for a last single row. */
MOE_INLINE void columns(const struct product *p, size_t from, size_t to, size_t c, const size_t cols,
                        const size_t dot_cols, bool more) {
    const size_t n_tiles = (to - from) / TILE_ROWS, asking = n_tiles < GROUP_LINES ? n_tiles : GROUP_LINES;
    const struct ahead nothing = {NULL, 0};
    struct ahead ahead = {moe_matrix_row(p->w, c + cols),
                          more && asking ? (GROUP_LINES + asking - 1) / asking : 0};
    struct group g;
    group_open(&g, p, c, cols);
    size_t i = from;
    for (; ahead.lines && i < from + asking * TILE_ROWS; i += TILE_ROWS) {
        put_tile(p, &g, i, 0, TILE_ROWS, cols, 1, ahead);
        ahead.at += p->w->cols / MOE_LANES * UNITS * ahead.lines * LINE_BYTES;
    }
    for (; i + TILE_ROWS <= to; i += TILE_ROWS) put_tile(p, &g, i, 0, TILE_ROWS, cols, 1, nothing);
    for (; i < to; i++)
        for (size_t j = 0; j < cols; j += dot_cols) put_tile(p, &g, i, j, 1, dot_cols, DOT_UNITS, nothing);
}

MOE_INLINE void gemm(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                     size_t first, size_t n_cols) {
    const struct product p = {y, ld_y, x, w};
    const size_t end = first + n_cols;
    if (x->n == 1) {
        const unsigned char *const stop = moe_matrix_row(w, w->rows); /* the next call goes on from here */
        for (size_t c = first; c < end; c++) {
            struct group g;
            group_open(&g, &p, c, 1);
            const unsigned char *at = moe_matrix_row(w, c) + DOT_AHEAD;
            if (at < stop)
                put_tile(&p, &g, 0, 0, 1, 1, UNITS, (struct ahead){at, BLOCK_BYTES / LINE_BYTES});
            else
                put_tile(&p, &g, 0, 0, 1, 1, UNITS, (struct ahead){NULL, 0});
        }
        return;
    }
    for (size_t from = 0; from < x->n; from += ROWS_AT_ONCE) {
        const size_t to = x->n - from < ROWS_AT_ONCE ? x->n : from + ROWS_AT_ONCE;
        size_t c = first;
        for (; c + TILE_COLS <= end; c += TILE_COLS)
            columns(&p, from, to, c, TILE_COLS, DOT_COLS, c + TILE_COLS < end);
        for (; c < end; c++) columns(&p, from, to, c, 1, 1, false);
    }
}
