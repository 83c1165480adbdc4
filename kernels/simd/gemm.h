/* GEMM of one format. The file that includes it says what a block of MOE_LANES weights in the packed order of
 * the format's layout takes (enum { BLOCK_BYTES }), how a vector of it is widened (load_half(block, u, half):
 * lanes [u * VEC, (u + 1) * VEC) of a half of 16), how a strip of a group of columns is (widen_group), and
 * what it does with FEW_ROWS rows or fewer (few_rows).
 *
 * A tile is TILE_ROWS rows by TILE_COLS columns, and all its sums are in registers. It takes half of each
 * block, a cache line of activations, so that it can be larger than with whole blocks, and goes over the
 * columns once for each half. Columns are taken a strip at a time. Between passes sums wait in memory; when a
 * tile has the last of them, its trees follow at once.
 *
 * Weights are widened once for all rows of a group of columns, into a panel of floats that stays in the first
 * level cache. Where a weight is a number, the first tile reads it where it lies and leaves it in the panel;
 * where it takes more (enum { WIDEN_FIRST }), widen_group fills the panel before. Up to IN_PLACE_ROWS rows
 * all read weights where they lie.
 *
 * Weights come from memory, and a tile of several columns reads as many streams, which the hardware's
 * prefetchers follow badly. So a single row takes one column after the other, all vectors at once: one
 * stream, read once. With many rows the tiles of a group of columns ask for the next group's weights, in the
 * order of memory, evenly. docs/kernels.md has the measurements. */
#include <string.h>

enum {
    HALF = MOE_LANES / 2,
    UNITS = HALF / VEC,
    VECS = MOE_LANES / VEC,
    TILE_MAX = TILE_ROWS * TILE_COLS,
    PANEL_LD = STRIP_BLOCKS * HALF + 16, /* columns do not meet in the same sets of the cache */
    ROWS_AT_ONCE = 72,                   /* of x, 576 KiB at k = 2048: they stay in the second level cache */
    LINE_BYTES = 64,
    PACE = 4,           /* blocks of few rows between requests for weights */
    DOT_AHEAD = 8 << 10 /* how far ahead of a single row's products weights are asked for */
};

/* Weights to ask for while tiles are computed, from `at` on: with every block the line there, which is `step`
 * bytes on from the one before; where more than one line a block is due, `lines` every PACE blocks. */
struct ahead {
    const unsigned char *at;
    size_t step, lines;
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
    vec sum[ROWS_AT_ONCE][TILE_COLS][VECS]; /* between passes */
    float panel[TILE_COLS * PANEL_LD] __attribute__((aligned(64)));
};

/* The c-th column; of fewer than TILE_COLS the last one stands for those that are missing. */
MOE_INLINE size_t column(const struct group *g, size_t c) {
    return g->c + (c < g->n_cols ? c : g->n_cols - 1);
}

/* Widens one half of a strip of all columns of a group (column()) into its panel: of block b to panel + c *
 * PANEL_LD + b * HALF. Past the last element come zeros. */
MOE_INLINE void widen_group(struct group *g, const struct product *p, struct strip strip, int half);

/* All products of at most FEW_ROWS rows, from column `first` to before `end`. */
MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end);

/* Where a tile finds its weights: where they lie, once or leaving them in the panel; or in the panel. */
enum source { IN_PLACE, IN_PLACE_KEEP, IN_PANEL };

/* A pass over some blocks of the columns of a group. */
struct pass {
    struct strip strip;
    bool last; /* of the columns */
};

/* A tile: rows from the i-th on, columns of the group from the j-th on, and which halves of their blocks:
 * one, or both. */
struct tile {
    size_t i, rows, j, cols;
    int half, n_halves;
};

/* Sums of a tile in registers: of vector v of the halves, row r, column c. */
typedef vec half_sums[2 * UNITS][TILE_ROWS][TILE_COLS];

/* Sums in memory: of row r, column c and vector v of the block. */
typedef vec (*waiting)[TILE_COLS][VECS];

/* The products of a tile into y; the sums of the lower half wait. */
MOE_INLINE void put_tile(const struct group *g, const struct product *p, waiting low, half_sums high,
                         const struct tile t) {
    const size_t left = g->n_cols > t.j ? g->n_cols - t.j : 0, first = ((size_t)t.n_halves - 1) * UNITS;
    vec unit[UNITS][TILE_MAX];
    float out[TILE_MAX];
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (size_t r = 0; r < t.rows; r++) {
            MOE_UNROLL
            for (size_t c = 0; c < t.cols; c++)
                unit[u][r * t.cols + c] = v_add(low[r][t.j + c][u], high[first + u][r][c]);
        }
    }
    finish(out, unit, t.rows * t.cols);
    MOE_UNROLL
    for (size_t r = 0; r < t.rows; r++) {
        float *y = p->y + (t.i + r) * p->ld_y + g->c + t.j;
        if (left >= t.cols)
            memcpy(y, out + r * t.cols, t.cols * sizeof *y);
        else
            memcpy(y, out + r * t.cols, left * sizeof *y);
    }
}

/* The products of a tile and a pass. */
MOE_INLINE void add_tile(struct group *g, const struct product *p, const struct pass pass,
                         const struct tile t, const enum source source) {
    const size_t first = (size_t)t.half * UNITS, n_vecs = (size_t)t.n_halves * UNITS, step = g->ahead.step;
    waiting wait = &g->sum[t.i - g->from];
    half_sums sum;
    const float *x[TILE_ROWS];
    const unsigned char *w[TILE_COLS], *at = g->ahead.at;
    float *panel = g->panel;
    MOE_UNROLL
    for (size_t r = 0; r < t.rows; r++)
        x[r] = product_row(p, t.i + r) + pass.strip.at * MOE_LANES + first * VEC;
    MOE_UNROLL
    for (size_t c = 0; c < t.cols; c++)
        w[c] = moe_matrix_row(p->w, column(g, t.j + c)) + pass.strip.at * BLOCK_BYTES;
    MOE_UNROLL
    for (size_t v = 0; v < n_vecs; v++) {
        MOE_UNROLL
        for (size_t r = 0; r < t.rows; r++) {
            MOE_UNROLL
            for (size_t c = 0; c < t.cols; c++)
                sum[v][r][c] = pass.strip.at ? wait[r][t.j + c][first + v] : v_set1(0);
        }
    }
    for (size_t b = 0; b < pass.strip.n;) {
        const size_t left = pass.strip.n - b, stop = source != IN_PLACE || left < PACE ? b + left : b + PACE;
        for (size_t l = 0; source == IN_PLACE && l < g->ahead.lines; l++, at += LINE_BYTES)
            __builtin_prefetch(at, 0, 2);
        for (; b < stop; b++) {
            if (source != IN_PLACE) __builtin_prefetch(at += step, 0, 2);
            MOE_UNROLL
            for (size_t v = 0; v < n_vecs; v++) {
                const int half = t.half + (int)(v / UNITS);
                const size_t u = v % UNITS;
                vec xs[TILE_ROWS];
                MOE_UNROLL
                for (size_t r = 0; r < t.rows; r++) xs[r] = v_load(x[r] + b * MOE_LANES + v * VEC);
                MOE_UNROLL
                for (size_t c = 0; c < t.cols; c++) {
                    float *kept = panel + c * PANEL_LD + b * HALF + u * VEC;
                    vec ws = source == IN_PANEL ? v_load(kept) : load_half(w[c] + b * BLOCK_BYTES, u, half);
                    if (t.rows > 1) ws = v_hold(ws);
                    if (source == IN_PLACE_KEEP) v_store(kept, ws);
                    MOE_UNROLL
                    for (size_t r = 0; r < t.rows; r++) sum[v][r][c] = v_fma(ws, xs[r], sum[v][r][c]);
                }
            }
        }
    }
    g->ahead.at = at;
    const bool done = pass.last && t.half + t.n_halves == 2;
    MOE_UNROLL
    for (size_t v = 0; v < n_vecs; v++) {
        if (done && first + v >= UNITS) break;
        MOE_UNROLL
        for (size_t r = 0; r < t.rows; r++) {
            MOE_UNROLL
            for (size_t c = 0; c < t.cols; c++) wait[r][t.j + c][first + v] = sum[v][r][c];
        }
    }
    if (done) put_tile(g, p, wait, sum, t);
}

/* The same for rows from the i-th on, TILE_ROWS at once. */
MOE_INLINE void add_rows(struct group *g, const struct product *p, const struct pass pass, struct tile t,
                         const enum source source) {
    for (; t.i + TILE_ROWS <= g->to; t.i += TILE_ROWS) {
        t.rows = TILE_ROWS;
        add_tile(g, p, pass, t, source);
    }
    if (TILE_ROWS > 2 && g->to - t.i == 2) {
        t.rows = 2;
        add_tile(g, p, pass, t, source);
    }
    if (g->to - t.i == 1) {
        t.rows = 1;
        add_tile(g, p, pass, t, source);
    }
}

/* A pass for many rows. Weights that are numbers wait in the panel for the rows after the first tile. */
MOE_INLINE void add_half(struct group *g, const struct product *p, const struct pass pass, const int half) {
    struct tile t = {g->from, TILE_ROWS, 0, TILE_COLS, half, 1};
    if (WIDEN_FIRST || p->w->cols % MOE_LANES) {
        widen_group(g, p, pass.strip, half);
    } else {
        add_tile(g, p, pass, t, IN_PLACE_KEEP);
        t.i += TILE_ROWS;
    }
    add_rows(g, p, pass, t, IN_PANEL);
}

/* Both passes for few rows: where there are registers for both halves of a block, it is read once. */
MOE_INLINE void add_in_place(struct group *g, const struct product *p, const struct pass pass) {
    struct tile t = {g->from, TILE_ROWS, 0, TILE_COLS / 2, 0, 2};
    if (UNITS == 1) {
        add_rows(g, p, pass, t, IN_PLACE);
        t.j = TILE_COLS / 2;
        add_rows(g, p, pass, t, IN_PLACE);
        return;
    }
    t.cols = TILE_COLS;
    t.n_halves = 1;
    add_rows(g, p, pass, t, IN_PLACE);
    t.half = 1;
    add_rows(g, p, pass, t, IN_PLACE);
}

/* Asks for the columns after a group, from c on, while its tiles are computed. */
MOE_INLINE struct ahead look_ahead(const struct product *p, size_t c, size_t n_rows, size_t n_blocks) {
    const size_t bytes = TILE_COLS * p->w->row_bytes;
    const size_t n = (n_rows + TILE_ROWS - 1) / TILE_ROWS * 2 * n_blocks; /* blocks of all tiles */
    const size_t step = bytes / n + 1;
    return (struct ahead){moe_matrix_row(p->w, c), step, (step * PACE + LINE_BYTES - 1) / LINE_BYTES};
}

/* Columns [c, end), at most TILE_COLS, for rows [from, to). Of fewer the last is computed several times. */
static void put_group(const struct product *p, size_t from, size_t to, size_t c, size_t end) {
    const size_t n_blocks = count_blocks(p);
    struct group g;
    g.from = from;
    g.to = to;
    g.c = c;
    g.n_cols = end - c < TILE_COLS ? end - c : TILE_COLS;
    g.ahead = (struct ahead){moe_matrix_row(p->w, c), 0, 0};
    if (c + TILE_COLS < end) g.ahead = look_ahead(p, c + TILE_COLS, to - from, n_blocks);
    struct pass pass = {.last = false};
    for (struct strip *s = &pass.strip; s->at < n_blocks; s->at += s->n) {
        s->n = n_blocks - s->at < STRIP_BLOCKS ? n_blocks - s->at : STRIP_BLOCKS;
        pass.last = s->at + s->n == n_blocks;
        if (!WIDEN_FIRST && to - from <= IN_PLACE_ROWS && p->w->cols % MOE_LANES == 0) {
            add_in_place(&g, p, pass);
        } else {
            add_half(&g, p, pass, 0);
            add_half(&g, p, pass, 1);
        }
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
