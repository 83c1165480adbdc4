/* GEMM and widening of PACKED: base/packed.h says how a block lies. A table of 16 bytes in each quarter of a
 * vector gives the high bytes for codes with one shuffle; interleaved with the low bytes they are words of
 * two bfloat16, in the order of EVEN_ODD.
 *
 * A single row of activations multiplies weights as they are widened, one column after the other: a matrix is
 * one stream. A row's blocks are taken in runs up to its next escape, so that the loop knows of none. More
 * rows share a panel (kernels/simd/gemm.h). */
#include "base/packed.h"

enum {
    BLOCK_BYTES = MOE_LANES * sizeof(float), /* in a panel */
    IN_PLACE = 0,
    PADDED_TO = MOE_LANES,
    STRIP_BLOCKS = 32, /* a panel of six columns takes 24 KiB */
    ROOM_BYTES = STRIP_BLOCKS * BLOCK_BYTES,
    ROW_AHEAD = 4 << 10,                   /* bytes, of a single row's products */
    PARTS = MOE_PACKED_WEIGHTS / MOE_LANES /* blocks of the layout in one of weights; divides STRIP_BLOCKS */
};

MOE_INLINE vec load_half(const unsigned char *block, size_t u, const int half) {
    return v_load(block + ((half ? MOE_LANES / 2 : 0) + u * VEC) * sizeof(float));
}

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

/* Writes the first n_parts parts of a block into a panel. */
MOE_INLINE void widen_block(float *out, const struct packed_row *row, size_t b, const unsigned char *high,
                            size_t n_parts) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        words part[PARTS];
        load_words(part, row, b, high, u);
        MOE_UNROLL
        for (size_t s = 0; s < PARTS; s++) {
            if (s >= n_parts) break;
            v_store(out + s * MOE_LANES + u * VEC, even(part[s]));
            v_store(out + s * MOE_LANES + HALF + u * VEC, odd(part[s]));
        }
    }
}

MOE_INLINE void group_load(struct group *g, const struct product *p, const struct strip strip,
                           const size_t n) {
    const size_t first = strip.at / PARTS;
    for (size_t j = 0; j < n; j++) {
        struct packed_row row;
        open_row(&row, p->w, g->c + j, first);
        float *out = (float *)(void *)g->room[j];
        for (size_t i = 0; i < strip.n; i += PARTS, out += MOE_PACKED_WEIGHTS) {
            const size_t b = first + i / PARTS;
            const unsigned char *ahead = row.blocks + b * MOE_PACKED_BYTES + TILE_COLS * p->w->row_bytes;
            for (size_t l = 0; l < MOE_PACKED_BYTES; l += LINE_BYTES) __builtin_prefetch(ahead + l, 0, 2);
            widen_block(out, &row, b, take_escape(&row, b), strip.n - i);
        }
        g->w[j] = g->room[j];
        g->tail[j] = NULL;
    }
}

typedef vec row_sums[UNITS][2];

/* Adds the first n_parts parts of block b. */
MOE_INLINE void add_parts(row_sums sum, const float *x, const struct packed_row *row, size_t b,
                          const unsigned char *high, const size_t n_parts) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        words part[PARTS];
        load_words(part, row, b, high, u);
        MOE_UNROLL
        for (size_t s = 0; s < PARTS; s++) {
            if (s >= n_parts) break;
            const float *at = x + b * MOE_PACKED_WEIGHTS + s * MOE_LANES + u * VEC;
            sum[u][0] = v_fma(even(part[s]), v_load(at), sum[u][0]);
            sum[u][1] = v_fma(odd(part[s]), v_load(at + HALF), sum[u][1]);
        }
    }
}

/* ask: for weights ROW_AHEAD further on, in the order of memory. */
MOE_INLINE float dot(const float *x, const struct moe_matrix *w, size_t r, bool ask) {
    const size_t n_parts = moe_padded(w->cols) / MOE_LANES, n_whole = n_parts / PARTS;
    struct packed_row row;
    row_sums sum;
    open_row(&row, w, r, 0);
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) sum[u][0] = sum[u][1] = v_set1(0);
    for (size_t b = 0;; b++) {
        for (const size_t stop = row.at < n_whole ? row.at : n_whole; b < stop; b++) {
            const unsigned char *ahead = row.blocks + b * MOE_PACKED_BYTES + ROW_AHEAD;
            for (size_t l = 0; ask && l < MOE_PACKED_BYTES; l += LINE_BYTES)
                __builtin_prefetch(ahead + l, 0, 2);
            add_parts(sum, x, &row, b, NULL, PARTS);
        }
        if (b * PARTS >= n_parts) break;
        add_parts(sum, x, &row, b, take_escape(&row, b), n_parts - b * PARTS);
    }
    vec unit[UNITS][TILE_MAX];
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) unit[u][0] = v_add(sum[u][0], sum[u][1]);
    float out;
    finish(&out, unit, 1);
    return out;
}

MOE_INLINE void single_row(const struct product *p, size_t first, size_t end) {
    const bool ask = !cpu_streams_alone();
    for (size_t c = first; c < end; c++) p->y[c] = dot(product_row(p, 0), p->w, c, ask);
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
