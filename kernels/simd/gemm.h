/* GEMM of one format. The file that includes it says what a block of MOE_LANES weights in the packed order of
 * the format's layout takes where tiles read it (enum { BLOCK_BYTES }) and how a vector of it is widened:
 * load_half(block, u, half): lanes [u * VEC, (u + 1) * VEC) of a half. The halves are 16 lanes apart, so that
 * the tree's first step, lane l + lane l + 16, adds the two sums of a unit. A narrow instruction set takes
 * the units of a tile one after the other, going over its rows once for each: so the tile has as many rows
 * and columns as two sums per product leave room for.
 *
 * Formats whose weights take work to widen (enum { IN_PLACE } is 0, LAYOUT that of their codes,
 * kernels/simd/quads.h) do not pay for it with every two rows: a strip of a group's columns is widened once,
 * into a panel of floats in packed order, and load_half reads that. The sums of the tiles wait in memory
 * between strips.
 *
 * Weights come from memory, and a tile of several columns reads as many streams, which the hardware's
 * prefetchers follow badly. So a single row takes one column after the other, all units at once: one stream,
 * read once. With more rows the tiles of a group of columns ask for the next group's weights, in the order of
 * memory, spread over as many tiles as it takes to ask for about a line per block; where there is a panel,
 * its widening asks. docs/kernels.md has the measurements. */
#include <string.h>

enum {
    HALF = MOE_LANES / 2,
    UNITS = HALF / VEC,
    TILE_MAX = TILE_ROWS * TILE_COLS,
    ROWS_AT_ONCE = 64, /* of x, 512 KiB at k = 2048: they stay in the second level cache */
    LINE_BYTES = 64,
    DOT_AHEAD = 8 << 10, /* how far ahead of a single row's products weights are asked for */
    /* lines of weights of a group per block and pass over them */
    GROUP_LINES = (TILE_COLS * BLOCK_BYTES + LINE_BYTES * UNITS - 1) / (LINE_BYTES * UNITS),
    /* tiles of a group: those whose sums wait for the next strip */
    TILES_MAX = IN_PLACE ? 1 : ROWS_AT_ONCE / TILE_ROWS + TILE_COLS / DOT_COLS
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
 * rather spill those. A weight of several rows is held in a register where gcc would load it once for each;
 * where it would spill activations instead (AVX-512, weights in place) it is not. */
MOE_INLINE void add_block(tile_sums *sum, const float *const *x, const unsigned char *const *w, size_t x_at,
                          size_t w_at, const size_t rows, const size_t cols, size_t u, const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        MOE_UNROLL
        for (int half = 0; half < 2; half++) {
            vec xs[TILE_ROWS];
            MOE_UNROLL
            for (size_t r = 0; r < rows; r++)
                xs[r] = v_load(x[r] + x_at + (size_t)half * HALF + (u + s) * VEC);
            MOE_UNROLL
            for (size_t c = 0; c < cols; c++) {
                vec ws = load_half(w[c] + w_at, u + s, half);
                if (rows > 1 && (UNITS > 1 || !IN_PLACE)) ws = v_hold(ws);
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

/* The tree over n products; unit [UNITS][n] is what the two sums of each unit add up to. */
MOE_INLINE void finish(float *out, vec (*unit)[TILE_MAX], const size_t n) {
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

/* Blocks of all columns of a group that are there at once: everything, or a strip. */
struct strip {
    size_t at, n;     /* its first block, and the blocks of it that are whole */
    bool tail;        /* whether a partial block, padded with zeros, follows */
    bool first, last; /* of the columns */
};

/* out [rows * cols] = rows of x times rows of w. x and w point to the strip; tail: the last block of each w,
 * if the strip has one. carried [UNITS]: the sums before and after, unless it is first and last. */
MOE_INLINE void tile(float *out, tile_sums *carried, const float *const *x, const unsigned char *const *w,
                     const unsigned char *const *tail, const struct strip strip, const size_t rows,
                     const size_t cols, const size_t n_units, struct ahead ahead) {
    vec unit[UNITS][TILE_MAX];
    const size_t n = rows * cols;
    for (size_t u = 0; u < UNITS; u += n_units) {
        tile_sums sum[UNITS];
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t i = 0; i < n; i++) {
                MOE_UNROLL
                for (int h = 0; h < 2; h++)
                    sum[s][i][h] = IN_PLACE || strip.first ? v_set1(0) : carried[u + s][i][h];
            }
        }
        for (size_t b = 0; b < strip.n; b++) {
            for (size_t l = 0; l < ahead.lines; l++, ahead.at += LINE_BYTES)
                __builtin_prefetch(ahead.at, 0, 2);
            add_block(sum, x, w, b * MOE_LANES, b * BLOCK_BYTES, rows, cols, u, n_units);
        }
        if (strip.tail) add_block(sum, x, tail, strip.n * MOE_LANES, 0, rows, cols, u, n_units);
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t i = 0; i < n; i++) {
                unit[u + s][i] = v_add(sum[s][i][0], sum[s][i][1]);
                MOE_UNROLL
                for (int h = 0; h < 2; h++)
                    if (!IN_PLACE && !strip.last) carried[u + s][i][h] = sum[s][i][h];
            }
        }
    }
    if (IN_PLACE || strip.last) finish(out, unit, n);
}

/* What the tiles of a call share. */
struct product {
    float *y;
    size_t ld_y;
    const struct moe_rows *x;
    const struct moe_matrix *w;
};

MOE_INLINE const float *product_row(const struct product *p, size_t i) {
    return p->x->data + (p->x->index ? p->x->index[i] : i) * p->x->ld;
}

/* Columns from c on, and where a strip of them lies. */
struct group {
    size_t c;
    const unsigned char *w[TILE_COLS], *tail[TILE_COLS];
    unsigned char room[TILE_COLS][ROOM_BYTES] __attribute__((aligned(64)));
};

/* Makes `strip` of the n columns of a group ready. */
MOE_INLINE void group_load(struct group *g, const struct product *p, struct strip strip, size_t n);

/* All products of at most FEW_ROWS rows, from column `first` to before `end`. */
MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end);

/* One tile into y: rows from the i-th on, `cols` columns of the group from the j-th on. */
MOE_INLINE void put_tile(const struct product *p, const struct group *g, tile_sums *carried,
                         const struct strip strip, size_t i, size_t j, const size_t rows, const size_t cols,
                         const size_t n_units, struct ahead ahead) {
    const float *x[TILE_ROWS];
    const unsigned char *w[TILE_COLS]; /* copies: those of g would be read again with every part */
    float out[TILE_MAX];
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++) x[r] = product_row(p, i + r) + strip.at * MOE_LANES;
    MOE_UNROLL
    for (size_t c = 0; c < cols; c++) w[c] = IN_PLACE ? moe_matrix_row(p->w, g->c + j + c) : g->w[j + c];
    tile(out, carried, x, w, g->tail + j, strip, rows, cols, n_units, ahead);
    for (size_t r = 0; (IN_PLACE || strip.last) && r < rows; r++)
        memcpy(p->y + (i + r) * p->ld_y + g->c + j, out + r * cols, cols * sizeof *out);
}

/* The tiles of a strip for rows [from, to); dot_cols columns at once for a last single row. */
MOE_INLINE void put_tiles(const struct product *p, const struct group *g, tile_sums (*carried)[UNITS],
                          const struct strip strip, size_t from, size_t to, const size_t cols,
                          const size_t dot_cols, bool more) {
    const size_t n_tiles = (to - from) / TILE_ROWS, asking = n_tiles < GROUP_LINES ? n_tiles : GROUP_LINES;
    const struct ahead nothing = {NULL, 0};
    struct ahead ahead = {moe_matrix_row(p->w, g->c + cols),
                          IN_PLACE && more && asking ? (GROUP_LINES + asking - 1) / asking : 0};
    size_t i = from;
    for (; ahead.lines && i < from + asking * TILE_ROWS; i += TILE_ROWS) {
        put_tile(p, g, *carried, strip, i, 0, TILE_ROWS, cols, 1, ahead);
        ahead.at += strip.n * UNITS * ahead.lines * LINE_BYTES;
        carried += !IN_PLACE;
    }
    for (; i + TILE_ROWS <= to; i += TILE_ROWS) {
        put_tile(p, g, *carried, strip, i, 0, TILE_ROWS, cols, 1, nothing);
        carried += !IN_PLACE;
    }
    for (; i < to; i++)
        for (size_t j = 0; j < cols; j += dot_cols) {
            put_tile(p, g, *carried, strip, i, j, 1, dot_cols, DOT_UNITS, nothing);
            carried += !IN_PLACE;
        }
}

/* `cols` columns from c on for rows [from, to). */
MOE_INLINE void columns(const struct product *p, size_t from, size_t to, size_t c, const size_t cols,
                        const size_t dot_cols, bool more) {
    tile_sums carried[TILES_MAX][UNITS];
    struct group g;
    g.c = c;
    if (IN_PLACE) {
        const struct strip all = {0, p->w->cols / MOE_LANES, p->w->cols % MOE_LANES != 0, true, true};
        group_load(&g, p, all, cols);
        put_tiles(p, &g, carried, all, from, to, cols, dot_cols, more);
        return;
    }
    const size_t n_blocks = (p->w->cols + PADDED_TO - 1) / PADDED_TO * (PADDED_TO / MOE_LANES);
    struct strip strip = {.first = true};
    do {
        strip.n = n_blocks - strip.at < STRIP_BLOCKS ? n_blocks - strip.at : STRIP_BLOCKS;
        strip.last = strip.at + strip.n == n_blocks;
        group_load(&g, p, strip, cols);
        put_tiles(p, &g, carried, strip, from, to, cols, dot_cols, more);
        strip.at += strip.n;
        strip.first = false;
    } while (!strip.last);
}

MOE_INLINE void gemm(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                     size_t first, size_t n_cols) {
    const struct product p = {y, ld_y, x, w};
    const size_t end = first + n_cols;
    if (x->n > 0 && x->n <= FEW_ROWS) {
        few_rows(&p, first, end);
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
