/* GEMM of a format whose weights are numbers, of WEIGHT_BYTES each: read where they lie. */
enum {
    BLOCK_BYTES = MOE_LANES * WEIGHT_BYTES,
    ROOM_BYTES = BLOCK_BYTES, /* for the last, partial block of a column */
    IN_PLACE = 1,
    STRIP_BLOCKS = 1, /* not asked for, nor is */
    PADDED_TO = MOE_LANES,
    FEW_ROWS = 1
};

#include "kernels/simd/gemm.h"

MOE_INLINE void group_load(struct group *g, const struct product *p, const struct strip strip,
                           const size_t n) {
    const size_t whole = strip.n * BLOCK_BYTES, left = p->w->cols % MOE_LANES * WEIGHT_BYTES;
    for (size_t j = 0; j < n; j++) {
        g->w[j] = moe_matrix_row(p->w, g->c + j);
        g->tail[j] = g->room[j];
        if (!strip.tail) continue;
        memset(g->room[j], 0, BLOCK_BYTES);
        memcpy(g->room[j], g->w[j] + whole, left);
    }
}

MOE_INLINE void few_rows(const struct product *p, size_t first, size_t end) {
    const unsigned char *const stop = moe_matrix_row(p->w, p->w->rows); /* the next call goes on from here */
    const struct strip all = {0, p->w->cols / MOE_LANES, p->w->cols % MOE_LANES != 0, true, true};
    for (size_t c = first; c < end; c++) {
        struct group g;
        g.c = c;
        group_load(&g, p, all, 1);
        const unsigned char *at = g.w[0] + DOT_AHEAD;
        if (at < stop)
            put_tile(p, &g, NULL, all, 0, 0, 1, 1, UNITS, (struct ahead){at, BLOCK_BYTES / LINE_BYTES});
        else
            put_tile(p, &g, NULL, all, 0, 0, 1, 1, UNITS, (struct ahead){NULL, 0});
    }
}
