/* GEMM and widening of a quantised format, layout QUADS. The file that includes it says how many bits a code
 * has (enum { BITS }), whether groups have a bias (BIASED) or a byte for an exponent instead of a number
 * (EXPONENTS), and defines weights(out, codes, scale, bias, one_group): out[part] are the weights of elements
 * 4i + part; whether the vectors belong to one group.
 *
 * One row of activations multiplies weights as they are widened, two columns at a time: with AVX-512 a column
 * alone has one chain of additions per half, and waits for it. More rows share a panel (kernels/simd/gemm.h).
 * The numbers of a strip's groups are converted to floats before its codes are read. */
enum {
    PARTS = 4,
    BLOCK = MOE_QUADS_BLOCK,
    CODES_BYTES = BLOCK * BITS / 8,
    BLOCK_BYTES = MOE_LANES * sizeof(float), /* in a panel */
    IN_PLACE = 0,
    PADDED_TO = MOE_QUADS_BLOCK,
    STRIP_BLOCKS = 32, /* a panel of six columns takes 24 KiB, half of the first level cache or all of it */
    ROOM_BYTES = STRIP_BLOCKS * BLOCK_BYTES,
    DOT_BLOCKS = 64, /* of a single row, between conversions of numbers */
    NUMBERS = MOE_QUADS_BLOCK / MOE_LANES * DOT_BLOCKS + VEC /* and what conversion writes past them */
};

MOE_INLINE vec load_half(const unsigned char *block, size_t u, const int half) {
    return v_load(block + ((half ? MOE_LANES / 2 : 0) + u * VEC) * sizeof(float));
}

#include "kernels/simd/gemm.h"

MOE_INLINE words load_codes(const unsigned char *block, size_t u) {
    if (BITS == 8) return w_load32(block + u * VEC * 4);
    if (BITS == 4) return w_load16(block + u * VEC * 2);
    if (BITS == 2) return w_load8(block + u * VEC);
    return w_load_odd(block, u, BITS);
}

/* The numbers of some blocks of one column. */
struct numbers {
    float scale[NUMBERS], bias[NUMBERS];
    unsigned shift; /* half i of a block, counted over the strip, belongs to group i >> shift */
};

/* VEC of them; exponents as moe_mxfp4_half_scale has them, in two factors that are normal floats. */
MOE_INLINE vec stored_numbers(const unsigned char *p, enum moe_format number) {
    if (EXPONENTS) {
        const words e = w_load8(p), low = w_right(e, 1), high = w_right(w_add(e, w_set1(1)), 1);
        return v_mul(v_of_bits(w_left(w_add(low, w_set1(63)), 23)),
                     v_of_bits(w_left(w_add(high, w_set1(63)), 23)));
    }
    return number == MOE_FORMAT_BF16 ? v_from_bf16(p) : v_from_f16(p);
}

static void convert(float *out, const unsigned char *p, size_t n, enum moe_format number) {
    size_t i = 0;
    if (!EXPONENTS && number == MOE_FORMAT_F32) {
        for (; i + VEC <= n; i += VEC) v_store(out + i, v_load(p + i * sizeof *out));
        v_store(out + i, v_load_n(p + i * sizeof *out, n - i));
        return;
    }
    const size_t size = EXPONENTS ? 1 : 2;
    for (; i + VEC <= n; i += VEC) v_store(out + i, stored_numbers(p + i * size, number));
    out[i] = 0;
    if (i == n) return;
    unsigned char room[VEC * sizeof(uint16_t)] = {0};
    memcpy(room, p + i * size, (n - i) * size);
    v_store(out + i, stored_numbers(room, number));
}

/* Of blocks [at, at + n) of row r. A group that the row has not, past a partial block's columns, is 0. */
MOE_INLINE void numbers_load(struct numbers *out, const struct moe_matrix *w, size_t r, size_t at, size_t n) {
    const struct moe_scales *s = &w->scales;
    const unsigned shift = (unsigned)__builtin_ctzll(s->columns), shift_halves = shift - 5;
    const size_t size = EXPONENTS ? 1 : s->number == MOE_FORMAT_F32 ? 4 : 2;
    const size_t groups = (w->cols + s->columns - 1) >> shift, first = 2 * at >> shift_halves;
    size_t end = ((2 * (at + n) - 1) >> shift_halves) + 1;
    if (end > groups) end = groups;
    const size_t skipped = moe_matrix_group_row(w, r) + first * size;
    out->shift = shift_halves;
    convert(out->scale, (const unsigned char *)s->scale + skipped, end - first, s->number);
    if (BIASED) convert(out->bias, (const unsigned char *)s->bias + skipped, end - first, s->number);
}

MOE_INLINE vec number(const float *numbers, const struct numbers *n, size_t b, size_t u) {
    if (n->shift == 0) return v_halves(numbers + 2 * b, numbers + 2 * b + 1, u);
    return v_set1(numbers[2 * b >> n->shift]);
}

/* The weights of unit u of a block, the b-th of a strip, in order of parts. */
MOE_INLINE void widen_unit(vec out[PARTS], const unsigned char *block, const struct numbers *n, size_t b,
                           size_t u) {
    const words codes = load_codes(block, u);
    const vec scale = number(n->scale, n, b, u), bias = BIASED ? number(n->bias, n, b, u) : scale;
    weights(out, codes, scale, bias, UNITS > 1 || n->shift > 0);
}

MOE_INLINE void widen_block(float *out, const unsigned char *block, const struct numbers *n, size_t b) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        vec parts[PARTS];
        widen_unit(parts, block, n, b, u);
        MOE_UNROLL
        for (size_t part = 0; part < PARTS; part++) v_store(out + part * HALF + u * VEC, parts[part]);
    }
}

/* A block of which only the first `left` elements are there: the others are +0, whatever the scale. */
static void widen_tail(float *out, const unsigned char *block, size_t left, const struct numbers *n,
                       size_t b) {
    unsigned char room[CODES_BYTES] = {0};
    memcpy(room, block, left * BITS / 8);
    widen_block(out, room, n, b);
    for (size_t i = left; i < BLOCK; i++) out[moe_layout_place(MOE_LAYOUT_QUADS, i)] = 0;
}

MOE_INLINE void group_load(struct group *g, const struct product *p, const struct strip strip,
                           const size_t n) {
    const size_t at = strip.at * MOE_LANES / BLOCK, n_blocks = strip.n * MOE_LANES / BLOCK;
    const size_t left = p->w->cols % BLOCK, whole = strip.last && left ? n_blocks - 1 : n_blocks;
    for (size_t j = 0; j < n; j++) {
        struct numbers numbers;
        const unsigned char *codes = moe_matrix_row(p->w, g->c + j) + at * CODES_BYTES;
        float *panel = (float *)(void *)g->room[j];
        numbers_load(&numbers, p->w, g->c + j, at, n_blocks);
        for (size_t b = 0; b < whole; b++) {
            __builtin_prefetch(codes + b * CODES_BYTES + TILE_COLS * p->w->row_bytes, 0, 2);
            widen_block(panel + b * BLOCK, codes + b * CODES_BYTES, &numbers, b);
        }
        if (whole < n_blocks)
            widen_tail(panel + whole * BLOCK, codes + whole * CODES_BYTES, left, &numbers, whole);
        g->w[j] = g->room[j];
        g->tail[j] = NULL;
    }
}

/* Columns [c, c + cols) of the only row. */
MOE_INLINE void dots(const struct product *p, size_t c, const size_t cols, struct ahead ahead) {
    const size_t n_blocks = p->w->cols / BLOCK, left = p->w->cols % BLOCK;
    const float *x = product_row(p, 0);
    const unsigned char *codes[DOTS];
    struct numbers numbers[DOTS];
    tile_sums sum[UNITS];
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (size_t j = 0; j < cols; j++) sum[u][j][0] = sum[u][j][1] = v_set1(0);
    }
    MOE_UNROLL
    for (size_t j = 0; j < cols; j++) codes[j] = moe_matrix_row(p->w, c + j);
    for (size_t at = 0; at < n_blocks; at += DOT_BLOCKS) {
        const size_t n = n_blocks - at < DOT_BLOCKS ? n_blocks - at : DOT_BLOCKS;
        for (size_t j = 0; j < cols; j++) numbers_load(&numbers[j], p->w, c + j, at, n);
        for (size_t b = 0; b < n; b++) {
            for (size_t l = 0; l < ahead.lines; l++, ahead.at += LINE_BYTES)
                __builtin_prefetch(ahead.at, 0, 2);
            MOE_UNROLL
            for (size_t u = 0; u < UNITS; u++) {
                MOE_UNROLL
                for (size_t j = 0; j < cols; j++) {
                    vec parts[PARTS];
                    widen_unit(parts, codes[j] + (at + b) * CODES_BYTES, &numbers[j], b, u);
                    MOE_UNROLL
                    for (size_t part = 0; part < PARTS; part++) {
                        vec *to = &sum[u][j][part & 1];
                        *to = v_fma(parts[part], v_load(x + (at + b) * BLOCK + part * HALF + u * VEC), *to);
                    }
                }
            }
        }
    }
    if (left) {
        float room[DOTS][BLOCK];
        const unsigned char *tail[DOTS];
        for (size_t j = 0; j < cols; j++) {
            numbers_load(&numbers[j], p->w, c + j, n_blocks, 1);
            widen_tail(room[j], codes[j] + n_blocks * CODES_BYTES, left, &numbers[j], 0);
            tail[j] = (const unsigned char *)room[j];
        }
        for (size_t i = 0; i < BLOCK; i += MOE_LANES)
            add_block(sum, &x, tail, n_blocks * BLOCK + i, i * sizeof **room, 1, cols, 0, UNITS);
    }
    vec unit[UNITS][TILE_MAX];
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        MOE_UNROLL
        for (size_t j = 0; j < cols; j++) unit[u][j] = v_add(sum[u][j][0], sum[u][j][1]);
    }
    finish(p->y + c, unit, cols);
}

MOE_INLINE void single_row(const struct product *p, size_t first, size_t end) {
    const unsigned char *const stop = moe_matrix_row(p->w, p->w->rows); /* the next call goes on from here */
    size_t c = first;
    for (; c + DOTS <= end; c += DOTS) {
        const unsigned char *at = moe_matrix_row(p->w, c) + DOT_AHEAD;
        dots(p, c, DOTS,
             (struct ahead){at, at < stop ? (DOTS * CODES_BYTES + LINE_BYTES - 1) / LINE_BYTES : 0});
    }
    for (; c < end; c++) dots(p, c, 1, (struct ahead){NULL, 0});
}

/* y [PARTS * VEC] = first elements of all parts, then second ones, ... */
MOE_INLINE void store_zipped(float *y, const vec parts[PARTS]) {
    vec even[2], odd[2], out[PARTS];
    v_zip(parts[0], parts[2], &even[0], &even[1]);
    v_zip(parts[1], parts[3], &odd[0], &odd[1]);
    v_zip(even[0], odd[0], &out[0], &out[1]);
    v_zip(even[1], odd[1], &out[2], &out[3]);
    MOE_UNROLL
    for (size_t i = 0; i < PARTS; i++) v_store(y + i * VEC, out[i]);
}

static void widen_row(float *y, const struct moe_matrix *w, size_t r) {
    const size_t n_blocks = (w->cols + BLOCK - 1) / BLOCK, left = w->cols % BLOCK;
    const unsigned char *codes = moe_matrix_row(w, r);
    struct numbers numbers;
    for (size_t i = 0; i < n_blocks; i++, codes += CODES_BYTES, y += BLOCK) {
        const size_t b = i % DOT_BLOCKS;
        if (b == 0) numbers_load(&numbers, w, r, i, n_blocks - i < DOT_BLOCKS ? n_blocks - i : DOT_BLOCKS);
        if (left && i + 1 == n_blocks) {
            float room[BLOCK];
            widen_tail(room, codes, left, &numbers, b);
            for (size_t j = 0; j < left; j++) y[j] = room[moe_layout_place(MOE_LAYOUT_QUADS, j)];
            return;
        }
        MOE_UNROLL
        for (size_t u = 0; u < UNITS; u++) {
            vec parts[PARTS];
            widen_unit(parts, codes, &numbers, b, u);
            store_zipped(y + u * VEC * PARTS, parts);
        }
    }
}
