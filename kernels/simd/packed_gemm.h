/* GEMM of packed weights: base/packed.h says how a block lies. A table of 16 bytes in each quarter of a
 * vector gives the high bytes for codes with one shuffle; interleaved with the low bytes they are words of
 * two bfloat16, in order.
 *
 * Few rows of activations multiply weights as they are widened (kernels/simd/few.h). A column's blocks are
 * taken in runs up to its next escape, so that the loop knows of none. More rows share a panel. */
#include "base/packed.h"

enum {
    PADDED_TO = MOE_LANES,
    PANELS = HALVES == 2 ? PACKED_PANELS : 1,
    STREAM_BYTES = MOE_PACKED_BYTES,
    FEW_ROWS = PASS_ROWS + 4,
    PARTS = MOE_PACKED_WEIGHTS / MOE_LANES /* blocks of the layout in one of weights; divides STRIP_BLOCKS */
};

#include "kernels/simd/gemm.h"

#include "kernels/simd/few.h"

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

/* Writes the first n_parts parts of a block into the panel of this half, or of both: restoring words costs
 * more than the room of a second panel. `at`: where they begin in it. */
MOE_INLINE void widen_block(size_t at, const struct packed_row *row, size_t b, const unsigned char *high,
                            size_t n_parts, struct group *g, const int half) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        words part[PARTS];
        load_words(part, row, b, high, u);
        MOE_UNROLL
        for (size_t s = 0; s < PARTS; s++) {
            if (s >= n_parts) break;
            MOE_UNROLL
            for (int h = 0; h < HALVES; h++)
                if (PANELS == 2 || h == half)
                    v_store(g->panel[h % PANELS] + at + s * HALF + u * VEC, half_of(part[s], h));
        }
    }
}

MOE_INLINE void widen_group(struct group *g, const struct product *p, const struct strip strip,
                            const int half) {
    const size_t first = strip.at / PARTS;
    if (PANELS == 2 && half == 1) return; /* filled together with the other */
    for (size_t c = 0; c < TILE_COLS; c++) {
        struct packed_row row;
        open_row(&row, p->w, column(g, c), first);
        for (size_t i = 0; i < strip.n; i += PARTS) {
            const size_t b = first + i / PARTS;
            widen_block(c * PANEL_LD + i * HALF, &row, b, take_escape(&row, b), strip.n - i, g, half);
        }
    }
}

/* Adds the first n_parts parts of block b to the sums of `rows` rows, units [u, u + n_units). */
MOE_INLINE void add_parts(few_sums sum, const float *const *x, const struct packed_row *row, size_t b,
                          const unsigned char *high, const size_t n_parts, const size_t rows, size_t u,
                          const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        words part[PARTS];
        load_words(part, row, b, high, u + s);
        MOE_UNROLL
        for (size_t i = 0; i < PARTS; i++) {
            if (i >= n_parts) break;
            vec w[HALVES];
            MOE_UNROLL
            for (int h = 0; h < HALVES; h++) w[h] = half_of(part[i], h);
            few_add(sum[s], x, (b * PARTS + i) * BLOCK_FLOATS + (u + s) * VEC, w, rows);
        }
    }
}

MOE_INLINE void dots(const struct product *p, size_t i, size_t c, const size_t rows, const size_t n_units,
                     struct ahead *ahead) {
    const size_t n_parts = moe_padded(p->w->cols) / MOE_LANES, n_whole = n_parts / PARTS;
    const float *x[PASS_ROWS];
    vec unit[UNITS][TILE_MAX];
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++) x[r] = product_row(p, i + r);
    for (size_t u = 0; u < UNITS; u += n_units) {
        struct packed_row row;
        few_sums sum;
        open_row(&row, p->w, c, 0);
        few_clear(sum, rows, n_units);
        for (size_t b = 0;; b++) {
            for (const size_t stop = row.at < n_whole ? row.at : n_whole; b < stop; b++) {
                if (u == 0) ask_ahead(ahead);
                add_parts(sum, x, &row, b, NULL, PARTS, rows, u, n_units);
            }
            if (b * PARTS >= n_parts) break;
            if (u == 0) ask_ahead(ahead);
            add_parts(sum, x, &row, b, take_escape(&row, b), n_parts - b * PARTS, rows, u, n_units);
        }
        few_join(unit, sum, rows, u, n_units);
    }
    few_put(p, i, c, unit, rows);
}
