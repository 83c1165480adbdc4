/* GEMM of one format. The file that includes it says to a multiple of how many elements columns are padded
 * (enum { PADDED_TO }), in how many HALVES a block of activations lies and how vectors of them are multiplied
 * (kernels/simd/fp32.h, pairs.h), whether halves have a panel in turn or one each (PANELS), how a strip of a
 * group of columns is widened (widen_group), and what it does with FEW_ROWS rows or fewer, which share no
 * panel (few_rows).
 *
 * Weights are widened once for all rows of a group of columns, into a panel of floats that stays in the first
 * level cache: one column after the other, so that each is a stream.
 *
 * A tile is TILE_ROWS rows by TILE_COLS columns, and all its sums are in registers. It takes half of each
 * block, a cache line of activations, so that it can be larger than with whole blocks, and goes over the
 * columns once for each half. Columns are taken a strip at a time. Between passes sums wait in memory; when a
 * tile has the last of them, its trees follow at once.
 *
 * The tiles of a group of columns ask for the next group's weights, in the order of memory, evenly: a panel
 * is then filled from a cache. docs/kernels.md has the measurements. */
#include <string.h>

enum {
    HALF = MOE_LANES / 2,
    UNITS = HALF / VEC,
    BLOCK_FLOATS = HALVES * HALF, /* what a block of activations takes */
    TILE_MAX = TILE_ROWS * TILE_COLS,
    PANEL_LD = STRIP_BLOCKS * HALF + 16, /* columns do not meet in the same sets of the cache */
    ROWS_AT_ONCE = 72,                   /* of x, 576 KiB at k = 2048: they stay in the second level cache */
    LINE_BYTES = 64
};

/* Weights to ask for while others are multiplied, from `at` on: `step` bytes with every block. */
struct ahead {
    const unsigned char *at;
    size_t step;
};

/* sums[i] = v_tree of the i-th of n vectors, a power of two: of two vectors a fold makes one. */
MOE_INLINE void v_trees(float *sums, vec *v, const size_t n) {
    float lane[VEC];
    size_t left = n;
    MOE_UNROLL
    for (int h = VEC / 2; h >= 1; h /= 2) {
        left = left > 1 ? left / 2 : 1;
        MOE_UNROLL
        for (size_t i = 0; i < left; i++) v[i] = v_fold(v[i], n * (size_t)h >= VEC ? v[i + left] : v[i], h);
    }
    v_store(lane, v[0]);
    MOE_UNROLL
    for (size_t i = 0; i < n; i++) sums[i] = lane[i * (VEC / n)];
}

/* The tree over n products; unit [UNITS][n]: what the two sums of each unit add up to. */
MOE_INLINE void finish(float *out, vec (*unit)[TILE_MAX], const size_t n) {
    MOE_UNROLL
    for (size_t h = UNITS / 2; h >= 1; h /= 2) {
        MOE_UNROLL
        for (size_t u = 0; u < h; u++) {
            MOE_UNROLL
            for (size_t i = 0; i < n; i++) unit[u][i] = v_add(unit[u][i], unit[u + h][i]);
        }
    }
    MOE_UNROLL
    for (size_t k = 0; k + VEC <= n; k += VEC) v_trees(out + k, unit[0] + k, VEC);
    MOE_UNROLL
    for (size_t some = VEC / 2; some >= 1; some /= 2)
        if (n & some) v_trees(out + n / (2 * some) * (2 * some), unit[0] + n / (2 * some) * (2 * some), some);
}

/* Sums of both halves of the blocks, if there are two. */
MOE_INLINE vec whole(vec low, vec high) {
    return HALVES == 2 ? v_add(low, high) : high;
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

/* Some blocks of a column, by number; the last one may be partial. */
struct strip {
    size_t at, n;
};

/* Blocks of a column. */
MOE_INLINE size_t count_blocks(const struct product *p) {
    return (p->w->cols + PADDED_TO - 1) / PADDED_TO * (PADDED_TO / MOE_LANES);
}

/* A group of columns with some rows. */
struct group {
    size_t from, to;  /* rows */
    size_t c, n_cols; /* its first column, and how many there are */
    struct ahead ahead;
    vec sum[ROWS_AT_ONCE][TILE_COLS][HALVES * UNITS]; /* between passes */
    float panel[PANELS][TILE_COLS * PANEL_LD] __attribute__((aligned(64)));
};

/* The c-th column; of fewer than TILE_COLS the last one stands for those that are missing. */
MOE_INLINE size_t column(const struct group *g, size_t c) {
    return g->c + (c < g->n_cols ? c : g->n_cols - 1);
}

/* Widens one half of a strip of all columns of a group (column()) into its panel: of block b to it + c *
 * PANEL_LD + b * HALF. Past the last element come zeros. With two panels the lower half may fill both. */
MOE_INLINE void widen_group(struct group *g, const struct product *p, struct strip strip, int half);

/* All products of at most FEW_ROWS rows, from column `first` to before `end`. */
MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end);

/* A pass over some blocks of the columns of a group. */
struct pass {
    struct strip strip;
    bool last; /* of the columns */
};

/* Sums of a tile in registers: of vector u of a half, row r, column c. */
typedef vec half_sums[UNITS][TILE_ROWS][TILE_COLS];

/* Sums in memory: of row r, column c and vector v of the block. */
typedef vec (*waiting)[TILE_COLS][HALVES * UNITS];

/* The products of a tile into y, rows from the i-th on; the sums of the lower half wait. */
MOE_INLINE void put_tile(const struct group *g, const struct product *p, waiting low, half_sums high,
                         size_t i, const size_t rows) {
    vec unit[UNITS][TILE_MAX];
    float out[TILE_MAX];
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            MOE_UNROLL
            for (size_t c = 0; c < TILE_COLS; c++)
                unit[u][r * TILE_COLS + c] = whole(low[r][c][u], high[u][r][c]);
        }
    }
    finish(out, unit, rows * TILE_COLS);
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        float *y = p->y + (i + r) * p->ld_y + g->c;
        if (g->n_cols == TILE_COLS)
            memcpy(y, out + r * TILE_COLS, TILE_COLS * sizeof *y);
        else
            memcpy(y, out + r * TILE_COLS, g->n_cols * sizeof *y);
    }
}

/* The products of a tile, rows from the i-th on, and one half of a pass. */
MOE_INLINE void add_tile(struct group *g, const struct product *p, const struct pass pass, const int half,
                         size_t i, const size_t rows) {
    const size_t first = (size_t)half * UNITS;
    waiting wait = &g->sum[i - g->from];
    half_sums sum;
    const float *x[TILE_ROWS];
    const unsigned char *at = g->ahead.at;
    const size_t step = g->ahead.step;
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++)
        x[r] = product_row(p, i + r) + pass.strip.at * BLOCK_FLOATS + first * VEC;
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            MOE_UNROLL
            for (size_t c = 0; c < TILE_COLS; c++)
                sum[u][r][c] = pass.strip.at ? wait[r][c][first + u] : v_set1(0);
        }
    }
    for (size_t b = 0; b < pass.strip.n; b++) {
        __builtin_prefetch(at += step, 0, 2);
        MOE_UNROLL
        for (size_t u = 0; u < UNITS; u++) {
            vec xs[TILE_ROWS];
            MOE_UNROLL
            for (size_t r = 0; r < rows; r++) xs[r] = v_load(x[r] + b * BLOCK_FLOATS + u * VEC);
            MOE_UNROLL
            for (size_t c = 0; c < TILE_COLS; c++) {
                vec ws = v_load(g->panel[half % PANELS] + c * PANEL_LD + b * HALF + u * VEC);
                if (rows > 1) ws = v_hold(ws);
                MOE_UNROLL
                for (size_t r = 0; r < rows; r++) sum[u][r][c] = multiply(ws, xs[r], sum[u][r][c]);
            }
        }
    }
    g->ahead.at = at;
    if (pass.last && half == HALVES - 1) {
        put_tile(g, p, wait, sum, i, rows);
        return;
    }
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            MOE_UNROLL
            for (size_t c = 0; c < TILE_COLS; c++) wait[r][c][first + u] = sum[u][r][c];
        }
    }
}

/* One half of a pass. */
MOE_INLINE void add_half(struct group *g, const struct product *p, const struct pass pass, const int half) {
    size_t i = g->from;
    widen_group(g, p, pass.strip, half);
    for (; i + TILE_ROWS <= g->to; i += TILE_ROWS) add_tile(g, p, pass, half, i, TILE_ROWS);
    if (TILE_ROWS > 2 && g->to - i == 2) add_tile(g, p, pass, half, i, 2);
    if (g->to - i == 1) add_tile(g, p, pass, half, i, 1);
}

/* Asks for the columns after a group, from c on, while its tiles are computed. */
MOE_INLINE struct ahead look_ahead(const struct product *p, size_t c, size_t n_rows, size_t n_blocks) {
    const size_t bytes = TILE_COLS * p->w->row_bytes;
    const size_t n = (n_rows + TILE_ROWS - 1) / TILE_ROWS * HALVES * n_blocks; /* blocks of all tiles */
    return (struct ahead){moe_matrix_row(p->w, c), bytes / n + 1};
}

/* Columns [c, end), at most TILE_COLS, for rows [from, to). Of fewer the last is computed several times. */
static void put_group(const struct product *p, size_t from, size_t to, size_t c, size_t end) {
    const size_t n_blocks = count_blocks(p);
    struct group g;
    g.from = from;
    g.to = to;
    g.c = c;
    g.n_cols = end - c < TILE_COLS ? end - c : TILE_COLS;
    g.ahead = (struct ahead){moe_matrix_row(p->w, c), 0};
    if (c + TILE_COLS < end) g.ahead = look_ahead(p, c + TILE_COLS, to - from, n_blocks);
    struct pass pass = {.last = false};
    for (struct strip *s = &pass.strip; s->at < n_blocks; s->at += s->n) {
        s->n = n_blocks - s->at < STRIP_BLOCKS ? n_blocks - s->at : STRIP_BLOCKS;
        pass.last = s->at + s->n == n_blocks;
        add_half(&g, p, pass, 0);
        if (HALVES == 2) add_half(&g, p, pass, 1);
    }
}

MOE_INLINE void gemm(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                     size_t first, size_t n_cols) {
    const struct product p = {y, ld_y, x, w};
    const size_t end = first + n_cols;
    if (x->n > 0 && x->n <= FEW_ROWS) {
        few_rows(&p, first, end);
        return;
    }
    const size_t n_passes = (x->n + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
    for (size_t pass = 0; pass < n_passes; pass++) {
        const size_t from = pass * x->n / n_passes, to = (pass + 1) * x->n / n_passes;
        for (size_t c = first; c < end; c += TILE_COLS) put_group(&p, from, to, c, end);
    }
}
