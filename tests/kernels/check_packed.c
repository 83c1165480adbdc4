/* base/packed: whatever the weights, what was packed is what comes out. */
#include "base/packed.h"

#include <string.h>

#include "tests/kernels/check.h"

struct packing {
    struct moe_matrix source, packed;
    size_t n_escapes;
    uint64_t tally[256];
    unsigned char *table; /* [MOE_PACKED_TABLE] */
    uint32_t *first, *block;
};

/* Rows that are done at once, of those from r on. */
static size_t some(size_t r, size_t rows) {
    return 1 + check_below(rows - r);
}

/* Weights whose high bytes are the n_values bytes from `least` on, the more often the lower: of any skew. */
static struct packing pack(size_t rows, size_t cols, size_t n_values, size_t skew, size_t least) {
    struct packing p = {.source = check_matrix(MOE_FORMAT_BF16, rows, cols, 3, CHECK_WIDE)};
    unsigned char *data = (unsigned char *)(uintptr_t)p.source.data;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < cols; i++) {
            size_t value = check_below(n_values);
            for (size_t s = 0; s < skew; s++) value = check_below(value + 1);
            data[r * p.source.row_bytes + 2 * i + 1] = (unsigned char)(least + value);
        }
    p.first = check_bytes((rows + 1) * sizeof *p.first, sizeof *p.first);
    for (size_t r = 0, n; r < rows; r += n) moe_packed_tally(p.tally, &p.source, r, n = some(r, rows));
    p.table = check_bytes(MOE_PACKED_TABLE, 1);
    moe_packed_choose(p.table, p.tally);
    for (size_t r = 0, n; r < rows; r += n)
        moe_packed_count(p.first + 1 + r, &p.source, p.table, r, n = some(r, rows));
    cr_assert(moe_packed_sum(p.first, rows));
    p.n_escapes = p.first[rows];
    p.block = check_bytes(p.n_escapes * sizeof *p.block, sizeof *p.block);
    const struct moe_packed_parts parts = {check_bytes(rows * moe_packed_blocks(cols) * MOE_PACKED_BYTES, 1),
                                           p.table, p.first, p.block,
                                           check_bytes(p.n_escapes * MOE_PACKED_WEIGHTS, 1)};
    for (size_t r = 0, n; r < rows; r += n) moe_packed_write(&parts, &p.source, r, n = some(r, rows));
    p.packed = moe_packed_matrix(&parts, rows, cols);
    return p;
}

static void check_same(const struct packing *p) {
    const size_t cols = p->source.cols;
    uint16_t *got = check_bytes(cols * sizeof *got, sizeof *got);
    for (size_t r = 0; r < p->source.rows; r++) {
        moe_packed_unpack(got, &p->packed, r, 0, cols);
        cr_assert(memcmp(got, moe_matrix_row(&p->source, r), cols * sizeof *got) == 0, "row %zu", r);
        const size_t first = check_below(cols), n = check_below(cols - first + 1);
        moe_packed_unpack(got, &p->packed, r, first, n);
        cr_assert(memcmp(got, moe_matrix_row(&p->source, r) + 2 * first, n * sizeof *got) == 0,
                  "row %zu: %zu from %zu on", r, n, first);
    }
}

/* The table holds the most frequent bytes; escapes are the blocks with any other, in which padding counts. */
static void check_escapes(const struct packing *p) {
    bool known[256] = {false};
    uint64_t least = UINT64_MAX, n = 0;
    for (size_t i = 0; i < MOE_PACKED_TABLE; i++) {
        known[p->table[i]] = true;
        if (p->tally[p->table[i]] < least) least = p->tally[p->table[i]];
    }
    const size_t blocks = moe_packed_blocks(p->source.cols);
    for (size_t b = 0; b < 256; b++) {
        n += p->tally[b];
        cr_assert(known[b] || p->tally[b] <= least);
    }
    cr_assert_eq(n, p->source.rows * blocks * MOE_PACKED_WEIGHTS);
    size_t e = 0;
    for (size_t r = 0; r < p->source.rows; r++) {
        cr_assert_eq(p->first[r], e);
        for (size_t b = 0; b < blocks; b++) {
            bool escape = false;
            for (size_t i = b * MOE_PACKED_WEIGHTS; i < (b + 1) * MOE_PACKED_WEIGHTS; i++)
                if (!known[i < p->source.cols ? moe_matrix_row(&p->source, r)[2 * i + 1] : 0]) escape = true;
            if (escape) cr_assert(e < p->n_escapes && p->block[e++] == b);
        }
    }
    cr_assert_eq(e, p->n_escapes);
}

Test(packed, same_weights) {
    size_t none = 0, all = 0;
    for (size_t i = 0; i < 400; i++) {
        const size_t n_values = 1 + check_below(i % 2 ? 256 : 24), rows = 1 + check_below(20);
        const struct packing p = pack(rows, 1 + check_below(i % 4 ? 700 : 140), n_values, check_below(7),
                                      check_below(257 - n_values));
        check_same(&p);
        check_escapes(&p);
        cr_assert(moe_packed_check(&p.packed, p.n_escapes));
        none += p.n_escapes == 0;
        all += p.n_escapes == rows * moe_packed_blocks(p.source.cols);
        check_reset();
    }
    cr_assert(none > 10 && all > 10 && none + all < 350, "%zu without, %zu with nothing but escapes", none,
              all);
}

/* What a file may say is either in order or refused. */
Test(packed, lies_are_found) {
    const struct packing p = pack(6, 600, 256, 0, 0); /* all five blocks of each row */
    cr_assert_eq(p.n_escapes, 30);
    cr_assert(moe_packed_check(&p.packed, 30) && !moe_packed_check(&p.packed, 29));
    const struct moe_matrix view = moe_matrix_rows(&p.packed, 4, 2);
    cr_assert(moe_packed_check(&view, 30) && !moe_packed_check(&view, 29));
    static const struct {
        size_t at;
        uint32_t number;
        bool block;
    } lies[] = {{0, 31, false}, {0, 6, false}, {6, UINT32_MAX, false}, {3, 21, false},
                {3, 9, false},  {4, 5, true},  {29, 5, true},          {0, 1, true},
                {7, 3, true},   {7, 1, true},  {4, 3, true},           {29, UINT32_MAX, true}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        uint32_t *number = (lies[i].block ? p.block : p.first) + lies[i].at, truth = *number;
        *number = lies[i].number;
        cr_assert(!moe_packed_check(&p.packed, 30), "lie %zu", i);
        *number = truth;
    }
    cr_assert(moe_packed_check(&p.packed, 30));
    check_reset();
}

Test(packed, too_many) {
    uint32_t numbers[] = {7, UINT32_MAX - 1, 1, 0};
    cr_assert(moe_packed_sum(numbers, 3));
    cr_assert(numbers[0] == 0 && numbers[1] == UINT32_MAX - 1 && numbers[3] == UINT32_MAX);
    uint32_t more[] = {0, UINT32_MAX, 1};
    cr_assert(!moe_packed_sum(more, 2));
}
