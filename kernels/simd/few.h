/* Products of FEW_ROWS rows or fewer, which multiply weights as they are widened, for formats whose weights
 * are numbers. One column comes after the other: a matrix is one stream, and what a block costs is shared by
 * the rows of a pass. The file that includes it says how many bytes go with a block (enum { STREAM_BYTES })
 * and how a column is multiplied (dots). */
enum {
    FEW_COLS = 16,      /* which all passes take before the next ones */
    ROW_AHEAD = 6 << 10 /* bytes, of weights that are asked for by a single pass */
};

/* Weights to ask for: `step` bytes with every block, or none if that is 0. */
MOE_INLINE void ask_ahead(struct ahead *a) {
    if (a->step == 0) return;
    MOE_UNROLL
    for (size_t l = 0; l < STREAM_BYTES; l += LINE_BYTES) __builtin_prefetch(a->at + l, 0, 2);
    a->at += a->step;
}

/* Sums of a column: of unit s and row r, of the halves of a block. */
typedef vec few_sums[UNITS][PASS_ROWS][HALVES];

/* Column c for `rows` rows from the i-th on, n_units units at once. Asks ahead with every block. */
MOE_INLINE void dots(const struct product *p, size_t i, size_t c, size_t rows, size_t n_units,
                     struct ahead *ahead);

MOE_INLINE void few_clear(few_sums sum, const size_t rows, const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        MOE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            MOE_UNROLL
            for (size_t h = 0; h < HALVES; h++) sum[s][r][h] = v_set1(0);
        }
    }
}

/* Adds a unit of a block, whose halves are w and whose activations begin at x_at, to one unit of the sums. */
MOE_INLINE void few_add(vec (*sum)[HALVES], const float *const *x, size_t x_at, const vec w[HALVES],
                        const size_t rows) {
    MOE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        MOE_UNROLL
        for (size_t h = 0; h < HALVES; h++)
            sum[r][h] = multiply(w[h], v_load(x[r] + x_at + h * HALF), sum[r][h]);
    }
}

MOE_INLINE void few_join(vec (*unit)[TILE_MAX], few_sums sum, const size_t rows, size_t u,
                         const size_t n_units) {
    MOE_UNROLL
    for (size_t s = 0; s < n_units; s++) {
        MOE_UNROLL
        for (size_t r = 0; r < rows; r++) unit[u + s][r] = whole(sum[s][r][0], sum[s][r][HALVES - 1]);
    }
}

MOE_INLINE void few_put(const struct product *p, size_t i, size_t c, vec (*unit)[TILE_MAX],
                        const size_t rows) {
    float out[PASS_ROWS];
    finish(out, unit, rows);
    for (size_t r = 0; r < rows; r++) p->y[(i + r) * p->ld_y + c] = out[r];
}

/* Columns [first, end) for `rows` rows from the i-th on. A function for each number of rows: gcc keeps no
 * sums in registers where a function has more than a hundred loops. */
typedef void few_pass_fn(const struct product *p, size_t i, size_t first, size_t end, struct ahead *ahead);
#define MOE_FEW_PASS(rows)                                                                                   \
    static MOE_APART void few_pass_##rows(const struct product *p, size_t i, size_t first, size_t end,       \
                                          struct ahead *ahead) {                                             \
        for (size_t c = first; c < end; c++) dots(p, i, c, rows, rows == 1 ? UNITS : 1, ahead);              \
    }
MOE_FEW_PASS(1)
MOE_FEW_PASS(2)
MOE_FEW_PASS(3)
MOE_FEW_PASS(4)
#if PASS_ROWS > 4
MOE_FEW_PASS(5)
MOE_FEW_PASS(6)
#endif

/* Passes of about the same height over some columns. A single one asks for its own weights, the others for
 * those of the next columns: memory works while they multiply what the caches have. */
MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end) {
    static few_pass_fn *const by_rows[PASS_ROWS] = {
        few_pass_1,
        few_pass_2,
        few_pass_3,
        few_pass_4,
#if PASS_ROWS > 4
        few_pass_5,
        few_pass_6
#endif
    };
    const size_t n = p->x->n, n_passes = (n + PASS_ROWS - 1) / PASS_ROWS;
    struct ahead own = {moe_matrix_row(p->w, first) + ROW_AHEAD, cpu_streams_alone() ? 0 : STREAM_BYTES};
    if (n_passes == 1) {
        by_rows[n - 1](p, 0, first, end, &own);
        return;
    }
    for (size_t c = first, stop; c < end; c = stop) {
        stop = end - c < FEW_COLS ? end : c + FEW_COLS;
        struct ahead next = {moe_matrix_row(p->w, stop), (STREAM_BYTES + n_passes - 1) / n_passes};
        for (size_t i = 0, k = 0; k < n_passes; k++) {
            const size_t rows = (n - i + n_passes - k - 1) / (n_passes - k);
            by_rows[rows - 1](p, i, c, stop, c == first && k == 0 ? &own : &next);
            i += rows;
        }
    }
}
