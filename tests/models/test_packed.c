/* Packed matrices in a file: found, bound to the right bytes, and refused where what they keep apart cannot
 * be. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/packed.h"
#include "models/packed_tensor.h"
#include "models/storage.h"
#include "tests/loader/files.h"

TestSuite(packed_tensor, .init = files_begin, .fini = files_end);

enum { N = 2, ROWS = 3, COLS = 200, BLOCKS = 2, ROW_BYTES = BLOCKS * MOE_PACKED_BYTES };

static moe_error err;

/* The two tensors of a stack a [N, ROWS, COLS], and what they were packed from. */
struct stack {
    uint16_t weights[N][ROWS][COLS];
    unsigned char data[N * ROWS * ROW_BYTES];
    unsigned char escapes[8192];
    struct moe_escapes_layout at;
    size_t n_escapes;
};

/* Row 1 of both matrices has every high byte there is: both of its blocks are escapes. Block 1 of row 2 of
 * the second is one as well. */
static void fill(struct stack *s) {
    uint32_t state = 1;
    for (size_t i = 0; i < N; i++)
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < COLS; c++) {
                state = state * 1664525 + 1013904223;
                uint16_t wild = (uint16_t)(state >> 16), tame = (uint16_t)((wild & 0x81ff) | 0x3c00);
                bool is_wild = r == 1 || (i == 1 && r == 2 && c == 150);
                s->weights[i][r][c] = is_wild ? wild | 0x4000 : tame;
            }
}

static struct moe_matrix plain(const struct stack *s, size_t i) {
    return (struct moe_matrix){.format = MOE_FORMAT_BF16,
                               .rows = ROWS,
                               .cols = COLS,
                               .row_bytes = COLS * sizeof(uint16_t),
                               .data = s->weights[i]};
}

static void pack(struct stack *s) {
    uint32_t first[N * ROWS + 1] = {0};
    memset(s, 0, sizeof *s);
    fill(s);
    for (size_t i = 0; i < N; i++) {
        uint64_t tally[256] = {0};
        const struct moe_matrix w = plain(s, i);
        moe_packed_tally(tally, &w, 0, ROWS);
        moe_packed_choose(s->escapes + i * MOE_PACKED_TABLE, tally);
        moe_packed_count(first + 1 + i * ROWS, &w, s->escapes + i * MOE_PACKED_TABLE, 0, ROWS);
    }
    cr_assert(moe_packed_sum(first, N * ROWS));
    s->n_escapes = first[N * ROWS];
    cr_assert_eq(s->n_escapes, 5);
    cr_assert(moe_escapes_lay_out(&s->at, N, N * ROWS, s->n_escapes));
    cr_assert_leq(s->at.n_bytes, sizeof s->escapes);
    memcpy(s->escapes + s->at.first, first, sizeof first);
    for (size_t i = 0; i < N; i++) {
        const struct moe_matrix w = plain(s, i);
        uint32_t block[8];
        const struct moe_packed_parts parts = {.data = s->data + i * ROWS * ROW_BYTES,
                                               .table = s->escapes + i * MOE_PACKED_TABLE,
                                               .first = first + i * ROWS,
                                               .block = block,
                                               .high = s->escapes + s->at.high};
        moe_packed_write(&parts, &w, 0, ROWS);
        size_t from = first[i * ROWS], n = first[(i + 1) * ROWS] - from;
        memcpy(s->escapes + s->at.block + from * 4, block + from, n * 4);
    }
}

/* A checkpoint of one file with these tensors; shapes NULL: as they are to be. `pad` moves all data. */
static void write_stack(const struct stack *s, size_t n_escape_bytes, const char *shape, size_t pad) {
    char header[512];
    size_t n_data = sizeof s->data;
    int n = snprintf(header, sizeof header,
                     "{\"a_packed\":{\"dtype\":\"U8\",\"shape\":%s,\"data_offsets\":[0,%zu]},"
                     "\"a_escapes\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}}%*s",
                     shape ? shape : "[2,3,2,192]", n_data, n_escape_bytes, n_data, n_data + n_escape_bytes,
                     (int)pad, "");
    unsigned char *file = calloc(1, 8 + (size_t)n + n_data + n_escape_bytes);
    uint64_t length = (uint64_t)n;
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, s->data, n_data);
    memcpy(file + 8 + length + n_data, s->escapes, n_escape_bytes);
    files_write("model.safetensors", file, 8 + length + n_data + n_escape_bytes);
    free(file);
}

static moe_status get(struct moe_matrix *out, struct moe_storage *st, struct moe_checkpoint **ck) {
    static const struct moe_quantization none;
    static struct moe_source source;
    cr_assert_eq(moe_checkpoint_open(ck, files_path("model.safetensors"), &err), MOE_OK, "%s", err.message);
    source = moe_source_checkpoint(*ck);
    *st = (struct moe_storage){.source = &source, .quantization = &none};
    return moe_storage_get(out, st, "a", N, ROWS, COLS, &err);
}

Test(packed_tensor, stack) {
    struct stack s;
    struct moe_matrix w[N];
    struct moe_storage st;
    struct moe_checkpoint *ck;
    uint16_t row[COLS];
    pack(&s);
    for (size_t pad = 0; pad < 3; pad++) {
        write_stack(&s, s.at.n_bytes, NULL, pad);
        cr_assert_eq(get(w, &st, &ck), MOE_OK, "%s", err.message);
        cr_expect_eq(moe_storage_find(&st, "a"), MOE_STORAGE_PACKED);
        uint64_t bytes = 0;
        for (size_t i = 0; i < N; i++) {
            cr_expect(w[i].format == MOE_FORMAT_PACKED && w[i].rows == ROWS && w[i].row_bytes == ROW_BYTES);
            bytes += moe_matrix_bytes(&w[i]);
            for (size_t r = 0; r < ROWS; r++) {
                const struct moe_matrix view = moe_matrix_rows(&w[i], r, 1);
                moe_packed_unpack(row, &view, 0, 0, COLS);
                cr_expect_arr_eq(row, s.weights[i][r], sizeof row, "matrix %zu, row %zu", i, r);
            }
        }
        cr_expect_eq(st.totals.n_bytes, bytes);
        cr_expect_eq(bytes, N * (ROWS * ROW_BYTES + 16 + 4 * (ROWS + 1)) + s.n_escapes * 132);
        cr_expect_eq(st.totals.n_parameters, N * ROWS * COLS);
        cr_expect(st.layouts[MOE_LAYOUT_EVEN_ODD] && !st.layouts[MOE_LAYOUT_QUADS]);
        moe_checkpoint_close(ck);
    }
}

static void expect_refused(const char *what, const char *says) {
    struct moe_matrix w[N];
    struct moe_storage st;
    struct moe_checkpoint *ck;
    moe_status status = get(w, &st, &ck);
    cr_expect_eq(status, MOE_E_FORMAT, "%s: %s", what, err.message);
    cr_expect(contains(err.message, "model.safetensors: tensor a_"), "%s: %s", what, err.message);
    cr_expect(contains(err.message, says), "%s: \"%s\" lacks \"%s\"", what, err.message, says);
    cr_expect_eq(st.totals.n_bytes, 0);
    moe_checkpoint_close(ck);
}

static void put_number(struct stack *s, size_t at, size_t i, uint32_t value) {
    memcpy(s->escapes + at + 4 * i, &value, 4);
}

/* One number at a time: of first and of block, below, at and above what it must be. */
Test(packed_tensor, numbers_that_cannot_be) {
    struct stack good, s;
    struct moe_matrix w[N];
    struct moe_storage st;
    struct moe_checkpoint *ck;
    pack(&good);
    const struct {
        const char *what;
        size_t at, i;
        uint32_t value;
        const char *says;
    } faults[] = {
        {"first descends", good.at.first, 3, 1, "out of order"},
        {"first is past all", good.at.first, 2, 6, "out of order"},
        {"first is huge", good.at.first, 1, UINT32_MAX, "out of order"},
        {"fewer escapes than bytes", good.at.first, N * ROWS, 4, "bytes, expected"},
        {"more escapes than bytes", good.at.first, N * ROWS, 6, "bytes, expected"},
        {"escapes beyond any file", good.at.first, N * ROWS, UINT32_MAX, "bytes, expected"},
        {"a block past the row", good.at.block, 1, BLOCKS, "out of order"},
        {"a huge block", good.at.block, 4, UINT32_MAX, "out of order"},
        {"a block twice", good.at.block, 1, 0, "out of order"},
        {"blocks that descend", good.at.block, 0, 1, "out of order"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        s = good;
        put_number(&s, faults[i].at, faults[i].i, faults[i].value);
        write_stack(&s, s.at.n_bytes, NULL, 0);
        expect_refused(faults[i].what, faults[i].says);
    }
    write_stack(&good, good.at.n_bytes, NULL, 0); /* and not for another reason */
    cr_expect_eq(get(w, &st, &ck), MOE_OK, "%s", err.message);
    moe_checkpoint_close(ck);
}

Test(packed_tensor, sizes_that_cannot_be) {
    struct stack s;
    pack(&s);
    for (size_t n = 0; n <= s.at.n_bytes + 64; n += n < 80 ? 1 : 37) {
        if (n == s.at.n_bytes) continue;
        write_stack(&s, n, NULL, 0);
        expect_refused("another size", "bytes, expected");
    }
    write_stack(&s, s.at.n_bytes, "[2,3,384]", 0);
    expect_refused("another rank", "shape [2, 3, 384], expected [2, 3, 2, 192]");
    write_stack(&s, s.at.n_bytes, "[2,6,1,192]", 0);
    expect_refused("another width", "shape [2, 6, 1, 192], expected [2, 3, 2, 192]");
}

Test(packed_tensor, both_tensors_are_wanted) {
    static const char *const names[] = {"a_packed", "a_escapes"}, *const other[] = {"a_escapes", "a_packed"};
    for (size_t i = 0; i < 2; i++) {
        struct moe_matrix w[N];
        struct moe_storage st;
        struct moe_checkpoint *ck;
        char header[256], says[64];
        snprintf(header, sizeof header,
                 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[2,3,2,192],\"data_offsets\":[0,2304]}}", names[i]);
        files_safetensors("model.safetensors", header, 2304);
        snprintf(says, sizeof says, "tensor %s: missing", other[i]);
        cr_expect_eq(get(w, &st, &ck), MOE_E_FORMAT);
        cr_expect(contains(err.message, says), "%s", err.message);
        moe_checkpoint_close(ck);
    }
}

/* Where the parts of NAME_escapes lie is part of the format. */
Test(packed_tensor, layout) {
    struct moe_escapes_layout at;
    cr_assert(moe_escapes_lay_out(&at, 1, 3, 2));
    cr_expect(at.first == 16 && at.block == 32 && at.high == 64 && at.n_bytes == 320);
    cr_assert(moe_escapes_lay_out(&at, 2, 7, 0));
    cr_expect(at.first == 32 && at.block == 64 && at.high == 64 && at.n_bytes == 64);
    cr_assert(moe_escapes_lay_out(&at, 2, 7, 1));
    cr_expect(at.block == 64 && at.high == 128 && at.n_bytes == 256);
    cr_expect_not(moe_escapes_lay_out(&at, 1, SIZE_MAX / 4, 0));
    cr_expect_not(moe_escapes_lay_out(&at, 1, SIZE_MAX / 4 - 16, 0));
    cr_expect_not(moe_escapes_lay_out(&at, 1, 1, SIZE_MAX / 4));
    cr_expect_not(moe_escapes_lay_out(&at, 1, 1, SIZE_MAX / 100));
}
