/* GEMM and widening of PACKED: base/packed.h says how a block lies. A table of 16 bytes in each quarter of a
 * vector gives the high bytes for codes with one shuffle; interleaved with the low bytes they are words of
 * two bfloat16, in the order of EVEN_ODD.
 *
 * Few rows of activations multiply weights as they are widened, one column after the other: a matrix is one
 * stream, and what a block costs is shared by the rows of a pass. A column's blocks are taken in runs up to
 * its next escape, so that the loop knows of none. More rows share a panel (kernels/simd/gemm.h). */
#include "base/packed.h"

enum {
    BLOCK_BYTES = MOE_LANES * sizeof(float), /* in a panel */
    PADDED_TO = MOE_LANES,
    WIDEN_FIRST = 1,
    FEW_ROWS = 8,        /* up to so many rows there is no panel */
    FEW_COLS = 16,       /* which all passes over few rows take before the next ones */
    PASS_MAX = 6,        /* rows of a pass at most; PASS_ROWS says how many registers have sums for */
    ROW_AHEAD = 6 << 10, /* bytes, of weights that are asked for without a panel */
    PARTS = MOE_PACKED_WEIGHTS / MOE_LANES /* blocks of the layout in one of weights; divides STRIP_BLOCKS */
};

#include "kernels/simd/floats.h"
#include "kernels/simd/gemm.h"

/* A row's blocks, and its next escape. */
struct packed_row {
    const unsigned char *blocks;
    const struct moe_escapes *escapes;
    words table;
    size_t next, end, at; /* the next escape, the row's last one + 1, the block of the next one */
};

MOE_INLINE void find_escape(struct packed_row *row) {
    row->at = row->next < row->end ? moe_packed_number(row->escapes->block, row->next) : SIZE_MAX;
}

/* Row r, to be read from block b on. */
MOE_INLINE void open_row(struct packed_row *row, const struct moe_matrix *w, size_t r, size_t b) {
    row->blocks = moe_matrix_row(w, r);
    row->escapes = &w->escapes;
    row->table = w_repeat16(w->escapes.table);
    row->next = moe_packed_number(w->escapes.first, r);
    row->end = moe_packed_number(w->escapes.first, r + 1);
    for (find_escape(row); row->at < b; find_escape(row)) row->next++;
}

/* The high bytes of block b, to be asked in ascending order, if it is an escape, else NULL. */
MOE_INLINE const unsigned char *take_escape(struct packed_row *row, size_t b) {
    if (b != row->at) return NULL;
    const unsigned char *high = moe_packed_high(row->escapes, row->next++);
    find_escape(row);
    return high;
}

/* Unit u of each part of block b, as words of two bfloat16; high: its high bytes if it is an escape. */
MOE_INLINE void load_words(words out[PARTS], const struct packed_row *row, size_t b,
                           const unsigned char *high, size_t u) {
    const unsigned char *block = row->blocks + b * MOE_PACKED_BYTES + u * sizeof(words);
    const words codes = w_load32(block), lowest = w_set1(0x0f0f0f0f);
    MOE_UNROLL
    for (int v = 0; v < 2; v++) {
        const size_t at = (size_t)v * MOE_PACKED_WEIGHTS / 2;
        const words low = w_load32(block + MOE_PACKED_CODES + at);
        const words upper = high ? w_load32(high + at + u * sizeof(words))
                                 : w_lookup8(row->table, w_and(w_right(codes, 4 * v), lowest));
        out[2 * v] = w_zip8_low(low, upper);
        out[2 * v + 1] = w_zip8_high(low, upper);
    }
}

MOE_INLINE vec even(words w) {
    return v_of_bits(w_left(w, 16));
}

MOE_INLINE vec odd(words w) {
    return v_of_bits(w_and(w, w_set1(0xffff0000)));
}

/* Writes one half of the first n_parts parts of a block into a panel. */
MOE_INLINE void widen_half(float *out, const struct packed_row *row, size_t b, const unsigned char *high,
                           size_t n_parts, const int half) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        words part[PARTS];
        load_words(part, row, b, high, u);
        MOE_UNROLL
        for (size_t s = 0; s < PARTS; s++) {
            if (s >= n_parts) break;
            v_store(out + s * HALF + u * VEC, half ? odd(part[s]) : even(part[s]));
        }
    }
}

MOE_INLINE void widen_group(struct group *g, const struct product *p, const struct strip strip,
                            const int half) {
    const size_t first = strip.at / PARTS;
    for (size_t c = 0; c < TILE_COLS; c++) {
        struct packed_row row;
        open_row(&row, p->w, column(g, c), first);
        for (size_t i = 0; i < strip.n; i += PARTS) {
            const size_t b = first + i / PARTS;
            widen_half(g->panel + c * PANEL_LD + i * HALF, &row, b, take_escape(&row, b), strip.n - i, half);
        }
    }
}

/* Adds the first n_parts parts of block b, units [u, u + n_units), to the sums of `rows` rows. */
MOE_INLINE void add_parts(vec (*sum)[PASS_MAX][2], const float *const *x, const struct packed_row *row,
                          size_t b, const unsigned char *high, const size_t n_parts, const size_t rows,
                          size_t u, const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        words part[PARTS];
        load_words(part, row, b, high, u + s);
        MOE_UNROLL
        for (size_t i = 0; i < PARTS; i++) {
            if (i >= n_parts) break;
            const size_t at = b * MOE_PACKED_WEIGHTS + i * MOE_LANES + (u + s) * VEC;
            const vec w[2] = {even(part[i]), odd(part[i])};
            MOE_UNROLL
            for (size_t r = 0; r < rows; r++) {
                MOE_UNROLL
                for (size_t h = 0; h < 2; h++)
                    sum[s][r][h] = v_fma(w[h], v_load(x[r] + at + h * HALF), sum[s][r][h]);
            }
        }
    }
}

/* Column c for `rows` rows from the i-th on, n_units units at once. ask: for weights ROW_AHEAD further on, in
 * the order of memory. */
MOE_INLINE void dots(const struct product *p, size_t i, size_t c, const size_t rows, const size_t n_units,
                     bool ask) {
    const size_t n_parts = moe_padded(p->w->cols) / MOE_LANES, n_whole = n_parts / PARTS;
    const float *x[PASS_MAX];
    vec unit[UNITS][TILE_MAX];
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++) x[r] = product_row(p, i + r);
    for (size_t u = 0; u < UNITS; u += n_units) {
        struct packed_row row;
        vec sum[UNITS][PASS_MAX][2];
        open_row(&row, p->w, c, 0);
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t r = 0; r < rows; r++) sum[s][r][0] = sum[s][r][1] = v_set1(0);
        }
        for (size_t b = 0;; b++) {
            for (const size_t stop = row.at < n_whole ? row.at : n_whole; b < stop; b++) {
                const unsigned char *ahead = row.blocks + b * MOE_PACKED_BYTES + ROW_AHEAD;
                for (size_t l = 0; ask && l < MOE_PACKED_BYTES; l += LINE_BYTES)
                    __builtin_prefetch(ahead + l, 0, 2);
                add_parts(sum, x, &row, b, NULL, PARTS, rows, u, n_units);
            }
            if (b * PARTS >= n_parts) break;
            add_parts(sum, x, &row, b, take_escape(&row, b), n_parts - b * PARTS, rows, u, n_units);
        }
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t r = 0; r < rows; r++) unit[u + s][r] = v_add(sum[s][r][0], sum[s][r][1]);
        }
        ask = false;
    }
    float out[PASS_MAX];
    finish(out, unit, rows);
    for (size_t r = 0; r < rows; r++) p->y[(i + r) * p->ld_y + c] = out[r];
}

/* Columns [first, end) for `rows` rows from the i-th on. */
MOE_INLINE void pass(const struct product *p, size_t i, size_t first, size_t end, const size_t rows,
                     bool ask) {
    for (size_t c = first; c < end; c++) dots(p, i, c, rows, rows == 1 ? UNITS : 1, ask);
}

/* Up to FEW_ROWS rows, in passes of about the same height over some columns: the first one brings the
 * weights, the others find them in a cache. */
MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end) {
    const size_t n = p->x->n, n_passes = (n + PASS_ROWS - 1) / PASS_ROWS;
    if (n == 1) {
        pass(p, 0, first, end, 1, !cpu_streams_alone());
        return;
    }
    for (size_t c = first; c < end; c += FEW_COLS) {
        const size_t stop = end - c < FEW_COLS ? end : c + FEW_COLS;
        for (size_t i = 0, k = 0; k < n_passes; k++) {
            const size_t rows = (n - i + n_passes - k - 1) / (n_passes - k);
            const bool ask = k == 0 && !cpu_streams_alone();
            if (PASS_ROWS >= 6 && rows == 6) pass(p, i, c, stop, 6, ask);
            if (PASS_ROWS >= 5 && rows == 5) pass(p, i, c, stop, 5, ask);
            if (rows == 4) pass(p, i, c, stop, 4, ask);
            if (rows == 3) pass(p, i, c, stop, 3, ask);
            if (rows == 2) pass(p, i, c, stop, 2, ask);
            i += rows;
        }
    }
}

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
            v_zip(even(part[s]), odd(part[s]), &a, &z);
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
