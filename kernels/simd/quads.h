/* GEMM and widening of a quantised format, layout QUADS. The file that includes it says how many bits a code
 * has (enum { BITS }), whether groups have a bias (BIASED) or a byte for an exponent instead of a number
 * (EXPONENTS), and how codes become weights: weights() gives out[part], those of elements 4i + part of a
 * vector of words. If MOE_FAST, weights_fast() does so in fewer operations where prepare() says so of a
 * strip's numbers, and is_strange() not of its codes afterwards; where they do, weights() does it again.
 *
 * Few rows of activations (DOT_ROWS) multiply weights as they are widened, DOTS columns at a time: with
 * AVX-512 a column of one row has one chain of additions per half, and waits for it. More rows share a panel
 * (kernels/simd/gemm.h). The numbers of a strip's groups are converted to floats before its codes are read.
 */
enum {
    BLOCK = MOE_QUADS_BLOCK,
    BLOCK_SHIFT = 6,
    CODES_BYTES = BLOCK * BITS / 8,
    PADDED_TO = MOE_QUADS_BLOCK,
    PANELS = 1,
    FEW_ROWS = DOT_ROWS,
    DOT_AHEAD = 8 << 10, /* how far ahead of few rows' products weights are asked for */
    DOT_LINES = (DOTS * BLOCK * BITS / 8 + 63) / 64 /* of codes of a single row's columns, per block */
};

#include "kernels/simd/fp32.h"

#include "kernels/simd/gemm.h"

MOE_INLINE words load_codes(const unsigned char *block, size_t u) {
    if (BITS == 8) return w_load32(block + u * VEC * 4);
    if (BITS == 4) return w_load16(block + u * VEC * 2);
    if (BITS == 2) return w_load8(block + u * VEC);
    return w_load_odd(block, u, BITS);
}

/* VEC of them; exponents as moe_mxfp4_half_scale has them, in two factors that are normal floats. */
MOE_INLINE vec stored_numbers(const unsigned char *p, enum moe_format number) {
    if (EXPONENTS) {
        const words e = w_load8(p), low = w_right(e, 1), high = w_right(w_add(e, w_set1(1)), 1);
        return v_mul(v_of_bits(w_left(w_add(low, w_set1(63)), 23)),
                     v_of_bits(w_left(w_add(high, w_set1(63)), 23)));
    }
    return number == MOE_FORMAT_BF16 ? v_from_bf16(p) : v_from_f16(p);
}

/* out [n], and past it what there is room for; `readable` bytes from p on are the matrix's, this row's or a
 * later one's: only at its end is less read than a vector. */
MOE_INLINE void convert(float *out, const unsigned char *p, size_t n, size_t readable,
                        enum moe_format number) {
    const size_t size = EXPONENTS ? 1 : number == MOE_FORMAT_F32 ? 4 : 2;
    for (size_t i = 0; i < n; i += VEC) {
        unsigned char room[VEC * sizeof(float)];
        const unsigned char *from = p + i * size;
        if ((i + VEC) * size > readable) from = memcpy(room, from, readable - i * size);
        v_store(out + i,
                !EXPONENTS && number == MOE_FORMAT_F32 ? v_load(from) : stored_numbers(from, number));
    }
    out[n] = 0;
}

/* Groups of more than a block: the number of block b of a strip from block `at` on, in its place. Backwards,
 * for it comes from there or before. */
static void spread(float *out, size_t at, size_t n, size_t first, unsigned shift) {
    for (size_t b = n; b-- > 0;) {
        out[b] = out[((at + b) >> shift) - first];
    }
}

/* Of blocks [at, at + n) of row r, if they are not there already: FP8 has the same ones for 128 rows. A group
 * that the row has not, past a partial block's columns, is 0. */
MOE_INLINE void numbers_load(struct numbers *out, const struct moe_matrix *w, size_t r, size_t at, size_t n) {
    const struct moe_scales *s = &w->scales;
    const unsigned shift = (unsigned)__builtin_ctzll(s->columns);
    const size_t size = EXPONENTS ? 1 : s->number == MOE_FORMAT_F32 ? 4 : 2;
    const size_t groups = (w->cols + s->columns - 1) >> shift, first = at * BLOCK >> shift;
    size_t end = (((at + n) * BLOCK - 1) >> shift) + 1;
    if (end > groups) end = groups;
    const size_t skipped = moe_matrix_group_row(w, r) + first * size;
    const unsigned char *scale = (const unsigned char *)s->scale + skipped;
    if (out->from == scale && out->n == n) return;
    out->from = scale;
    out->n = n;
    out->halves = s->columns < BLOCK;
    const size_t readable = moe_matrix_group_row(w, w->rows - 1) + groups * size - skipped;
    convert(out->of[SCALE], scale, end - first, readable, s->number);
    if (BIASED)
        convert(out->of[BIAS], (const unsigned char *)s->bias + skipped, end - first, readable, s->number);
    if (s->columns > BLOCK) {
        spread(out->of[SCALE], at, n, first, shift - BLOCK_SHIFT);
        if (BIASED) spread(out->of[BIAS], at, n, first, shift - BLOCK_SHIFT);
    }
    out->fast = MOE_FAST && prepare(out, out->halves ? 2 * n : n);
}

/* The weights of a unit of a block, in order of parts. */
MOE_INLINE void widen_unit(vec out[PARTS], const unsigned char *block, const struct place place,
                           const bool fast, words *seen) {
    const words codes = load_codes(block, place.u);
    if (MOE_FAST && fast)
        weights_fast(out, codes, place, seen);
    else
        weights(out, codes, place);
}

/* Every step-th part of a block from the first-th on. */
MOE_INLINE void widen_parts(float *out, const unsigned char *block, const struct numbers *n, size_t b,
                            const bool halves, const bool fast, words *seen, const size_t first,
                            const size_t step) {
    MOE_UNROLL
    for (size_t u = 0; u < UNITS; u++) {
        vec parts[PARTS];
        widen_unit(parts, block, (struct place){n, b, u, halves}, fast, seen);
        MOE_UNROLL
        for (size_t part = first; part < PARTS; part += step)
            v_store(out + part / step * HALF + u * VEC, parts[part]);
    }
}

/* A block of which only the first `left` elements are there: the others are +0, whatever the scale. */
static void widen_tail(float *out, const unsigned char *block, size_t left, const struct numbers *n,
                       size_t b) {
    unsigned char room[CODES_BYTES] = {0};
    memcpy(room, block, left * BITS / 8);
    widen_parts(out, room, n, b, n->halves, false, NULL, 0, 1);
    for (size_t i = left; i < BLOCK; i++) out[moe_layout_place(MOE_LAYOUT_QUADS, i)] = 0;
}

/* One half of the n blocks of a strip: parts 0 and 2 of each, or 1 and 3. False: not done, for the fast way
 * does not give the bits of this one. */
MOE_INLINE bool widen_blocks(float *out, const unsigned char *codes, size_t n, const struct numbers *numbers,
                             const int half, const bool halves, const bool fast) {
    words seen = w_set1(0);
    for (size_t b = 0; b < n; b++)
        widen_parts(out + b * 2 * HALF, codes + b * CODES_BYTES, numbers, b, halves, fast, &seen,
                    (size_t)half, 2);
    return !fast || !is_strange(seen);
}

MOE_INLINE void widen_strip(float *out, const unsigned char *codes, size_t n, const struct numbers *numbers,
                            const int half) {
    if (numbers->halves) {
        if (MOE_FAST && numbers->fast && widen_blocks(out, codes, n, numbers, half, true, true)) return;
        widen_blocks(out, codes, n, numbers, half, true, false);
    } else {
        if (MOE_FAST && numbers->fast && widen_blocks(out, codes, n, numbers, half, false, true)) return;
        widen_blocks(out, codes, n, numbers, half, false, false);
    }
}

MOE_INLINE void widen_group(struct group *g, const struct product *p, const struct strip strip,
                            const int half) {
    const size_t at = strip.at * MOE_LANES / BLOCK, n_blocks = strip.n * MOE_LANES / BLOCK;
    const size_t n_whole = p->w->cols / BLOCK - at, n = n_blocks < n_whole ? n_blocks : n_whole;
    struct numbers numbers;
    numbers.from = NULL;
    for (size_t c = 0; c < TILE_COLS; c++) {
        const unsigned char *codes = moe_matrix_row(p->w, column(g, c)) + at * CODES_BYTES;
        float *out = g->panel[0] + c * PANEL_LD;
        numbers_load(&numbers, p->w, column(g, c), at, n_blocks);
        widen_strip(out, codes, n, &numbers, half);
        if (n == n_blocks) continue;
        float room[BLOCK];
        widen_tail(room, codes + n * CODES_BYTES, p->w->cols % BLOCK, &numbers, n);
        for (size_t i = 0; i < 2; i++)
            memcpy(out + (2 * n + i) * HALF, room + (2 * i + (size_t)half) * HALF, HALF * sizeof *out);
    }
}

/* Sums of a few rows and columns: [product][low, high]. */
typedef vec dot_sums[DOT_ROWS * DOTS][2];

/* A few rows from the first on times a few columns from c on. */
struct dots {
    const struct product *p;
    const float *x[DOT_ROWS];
    const unsigned char *codes[DOTS], *ask; /* weights from there on are asked for meanwhile */
    struct numbers *numbers;                /* [cols] */
    size_t c;
};

/* Adds a unit of a column, whose activations are at x_at. */
MOE_INLINE void add_parts(vec (*sum)[2], const struct dots *d, const vec parts[PARTS], size_t x_at,
                          const size_t rows, const size_t cols, const size_t j) {
    MOE_UNROLL
    for (size_t part = 0; part < PARTS; part++) {
        MOE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            vec *to = &sum[r * cols + j][part & 1];
            *to = v_fma(parts[part], v_load(d->x[r] + x_at + part * HALF), *to);
        }
    }
}

/* Adds blocks [at, at + n), units from u on. */
MOE_INLINE words add_dots(dot_sums *sums, const struct dots *d, size_t at, size_t n, const size_t rows,
                          const size_t cols, size_t u, const size_t n_units, const bool halves,
                          const bool fast) {
    words seen = w_set1(0);
    dot_sums sum[UNITS]; /* registers, which sums through a pointer would not be */
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        MOE_UNROLL
        for (size_t i = 0; i < rows * cols; i++) {
            sum[s][i][0] = sums[s][i][0];
            sum[s][i][1] = sums[s][i][1];
        }
    }
    for (size_t b = 0; b < n; b++) {
        MOE_UNROLL
        for (size_t l = 0; l < DOT_LINES && u == 0; l++)
            __builtin_prefetch(d->ask + ((at + b) * DOT_LINES + l) * LINE_BYTES, 0, 2);
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t j = 0; j < cols; j++) {
                vec parts[PARTS];
                const struct place place = {&d->numbers[j], b, u + s, halves};
                widen_unit(parts, d->codes[j] + (at + b) * CODES_BYTES, place, fast, &seen);
                add_parts(sum[s], d, parts, (at + b) * BLOCK + (u + s) * VEC, rows, cols, j);
            }
            if (UNITS > 1) __asm__ volatile("" ::: "memory"); /* else gcc holds numbers, and spills sums */
        }
    }
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        MOE_UNROLL
        for (size_t i = 0; i < rows * cols; i++) {
            sums[s][i][0] = sum[s][i][0];
            sums[s][i][1] = sum[s][i][1];
        }
    }
    return seen;
}

/* The last block, of which only some elements are there. */
MOE_INLINE void add_last(dot_sums *sum, const struct dots *d, const size_t rows, const size_t cols, size_t u,
                         const size_t n_units) {
    const struct moe_matrix *w = d->p->w;
    const size_t n_blocks = w->cols / BLOCK;
    MOE_UNROLL
    for (size_t j = 0; j < cols; j++) {
        float room[BLOCK];
        numbers_load(&d->numbers[j], w, d->c + j, n_blocks, 1);
        widen_tail(room, d->codes[j] + n_blocks * CODES_BYTES, w->cols % BLOCK, &d->numbers[j], 0);
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            vec parts[PARTS];
            MOE_UNROLL
            for (size_t part = 0; part < PARTS; part++)
                parts[part] = v_load(room + part * HALF + (u + s) * VEC);
            add_parts(sum[s], d, parts, n_blocks * BLOCK + (u + s) * VEC, rows, cols, j);
        }
    }
}

/* Into y. False: not done, for the fast way does not give the bits of this one. */
MOE_INLINE bool dots(const struct dots *d, const size_t rows, const size_t cols, const bool halves,
                     const bool fast) {
    const struct moe_matrix *w = d->p->w;
    const size_t n_blocks = w->cols / BLOCK, n_units = rows > 2 ? (UNITS + 1) / 2 : UNITS;
    vec unit[UNITS][TILE_MAX];
    for (size_t u = 0; u < UNITS; u += n_units) {
        dot_sums sum[UNITS];
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t i = 0; i < rows * cols; i++) sum[s][i][0] = sum[s][i][1] = v_set1(0);
        }
        for (size_t at = 0; at < n_blocks; at += DOT_BLOCKS) {
            const size_t n = n_blocks - at < DOT_BLOCKS ? n_blocks - at : DOT_BLOCKS;
            for (size_t j = 0; j < cols; j++) {
                numbers_load(&d->numbers[j], w, d->c + j, at, n);
                if (fast && !d->numbers[j].fast) return false;
            }
            const words seen = add_dots(sum, d, at, n, rows, cols, u, n_units, halves, fast);
            if (fast && is_strange(seen)) return false;
        }
        if (w->cols % BLOCK) add_last(sum, d, rows, cols, u, n_units);
        MOE_UNROLL
        for (size_t s = 0; s < n_units; s++) {
            MOE_UNROLL
            for (size_t i = 0; i < rows * cols; i++) unit[u + s][i] = v_add(sum[s][i][0], sum[s][i][1]);
        }
    }
    float out[TILE_MAX];
    finish(out, unit, rows * cols);
    for (size_t r = 0; r < rows; r++)
        memcpy(d->p->y + r * d->p->ld_y + d->c, out + r * cols, cols * sizeof *out);
    return true;
}

MOE_INLINE void set_columns(struct dots *d, size_t c, const size_t cols) {
    const struct moe_matrix *w = d->p->w;
    const unsigned char *const stop = moe_matrix_row(w, w->rows);
    d->c = c;
    for (size_t j = 0; j < cols; j++) d->codes[j] = moe_matrix_row(w, c + j);
    d->ask = d->codes[0] + DOT_AHEAD < stop ? d->codes[0] + DOT_AHEAD
                                            : d->codes[0]; /* the next call goes on there */
}

/* One product where the fast way is none. */
static MOE_APART void slow_dot(const struct dots *of, size_t r, size_t c, const bool halves) {
    const struct product p = {of->p->y + r * of->p->ld_y, of->p->ld_y, of->p->x, of->p->w};
    struct dots d = {.p = &p, .x = {of->x[r]}, .numbers = of->numbers};
    set_columns(&d, c, 1);
    if (halves)
        dots(&d, 1, 1, true, false);
    else
        dots(&d, 1, 1, false, false);
}

MOE_INLINE void put_dots(struct dots *d, size_t c, const size_t rows, const size_t cols, const bool halves) {
    set_columns(d, c, cols);
    if (dots(d, rows, cols, halves, MOE_FAST)) return;
    for (size_t i = 0; i < rows * cols; i++) slow_dot(d, i / cols, c + i % cols, halves);
}

MOE_INLINE void all_dots(const struct product *p, size_t first, size_t end, const size_t rows,
                         const bool halves) {
    struct numbers numbers[DOTS];
    struct dots d = {.p = p, .numbers = numbers};
    size_t c = first;
    for (size_t j = 0; j < DOTS; j++) numbers[j].from = NULL;
    for (size_t r = 0; r < rows; r++) d.x[r] = product_row(p, r);
    for (; c + DOTS <= end; c += DOTS) put_dots(&d, c, rows, DOTS, halves);
    for (; c < end; c++) put_dots(&d, c, rows, 1, halves);
}

/* A function for each number of rows: gcc keeps no sums in registers where a function has more than a hundred
 * loops. */
#define MOE_DOTS(rows)                                                                                       \
    static MOE_APART void dots_##rows(const struct product *p, size_t first, size_t end) {                   \
        all_dots(p, first, end, rows, false);                                                                \
    }                                                                                                        \
    static MOE_APART void dots_##rows##_halves(const struct product *p, size_t first, size_t end) {          \
        all_dots(p, first, end, rows, true);                                                                 \
    }
MOE_DOTS(1)
MOE_DOTS(2)
#if DOT_ROWS > 2
MOE_DOTS(3)
MOE_DOTS(4)
#endif

MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end) {
    typedef void dots_fn(const struct product *p, size_t first, size_t end);
    static dots_fn *const by_rows[DOT_ROWS][2] = {
        {dots_1, dots_1_halves},
        {dots_2, dots_2_halves},
#if DOT_ROWS > 2
        {dots_3, dots_3_halves},
        {dots_4, dots_4_halves},
#endif
    };
    by_rows[p->x->n - 1][p->w->scales.columns < BLOCK](p, first, end);
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
    numbers.from = NULL;
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
            widen_unit(parts, codes, (struct place){&numbers, b, u, numbers.halves}, false, NULL);
            store_zipped(y + u * VEC * PARTS, parts);
        }
    }
}
