#include "base/packed.h"

enum {
    RUN = 8,      /* neighbours that stay neighbours */
    HALF = 64,    /* low bytes of a vector */
    UNKNOWN = 16, /* no code */
    TALLIES = 4   /* so that an increment does not wait for the one before, which is often the same */
};

/* Where element i of a block is among its low bytes. */
static size_t place(size_t i) {
    return i / HALF * HALF + i % MOE_LANES / RUN * (2 * RUN) + i / MOE_LANES % 2 * RUN + i % RUN;
}

void moe_packed_tally(uint64_t tally[256], const struct moe_matrix *w, size_t first, size_t n) {
    uint64_t part[TALLIES][256] = {{0}};
    for (size_t r = first; r < first + n; r++) {
        const unsigned char *row = moe_matrix_row(w, r);
        size_t i = 0;
        for (; i + TALLIES <= w->cols; i += TALLIES)
            for (size_t t = 0; t < TALLIES; t++) part[t][row[2 * (i + t) + 1]]++;
        for (; i < w->cols; i++) part[0][row[2 * i + 1]]++;
    }
    for (size_t b = 0; b < 256; b++)
        for (size_t t = 0; t < TALLIES; t++) tally[b] += part[t][b];
    tally[0] += n * (moe_packed_blocks(w->cols) * MOE_PACKED_WEIGHTS - w->cols);
}

void moe_packed_choose(unsigned char table[MOE_PACKED_TABLE], const uint64_t tally[256]) {
    bool taken[256] = {false};
    for (size_t i = 0; i < MOE_PACKED_TABLE; i++) {
        size_t best = 256;
        for (size_t b = 0; b < 256; b++)
            if (!taken[b] && (best == 256 || tally[b] > tally[best])) best = b;
        taken[best] = true;
        table[i] = (unsigned char)best;
    }
}

/* The code of each high byte, or UNKNOWN. */
static void invert(unsigned char code[256], const unsigned char table[MOE_PACKED_TABLE]) {
    memset(code, UNKNOWN, 256);
    for (size_t i = 0; i < MOE_PACKED_TABLE; i++) code[table[i]] = (unsigned char)i;
}

/* Weights of block b of a row of w. */
static size_t block_weights(const struct moe_matrix *w, size_t b) {
    const size_t left = w->cols - b * MOE_PACKED_WEIGHTS;
    return left < MOE_PACKED_WEIGHTS ? left : MOE_PACKED_WEIGHTS;
}

void moe_packed_count(uint32_t *counts, const struct moe_matrix *w,
                      const unsigned char table[MOE_PACKED_TABLE], size_t first, size_t n) {
    unsigned char code[256];
    invert(code, table);
    const size_t n_blocks = moe_packed_blocks(w->cols);
    for (size_t r = first; r < first + n; r++) {
        const unsigned char *weights = moe_matrix_row(w, r);
        uint32_t count = 0;
        for (size_t b = 0; b < n_blocks; b++) {
            const size_t there = block_weights(w, b);
            unsigned seen = there < MOE_PACKED_WEIGHTS ? code[0] : 0;
            for (size_t i = 0; i < there; i++) seen |= code[weights[2 * i + 1]];
            weights += 2 * there;
            count += (seen & UNKNOWN) != 0;
        }
        counts[r - first] = count;
    }
}

bool moe_packed_sum(uint32_t *numbers, size_t n) {
    uint64_t sum = numbers[0] = 0;
    for (size_t i = 1; i <= n; i++) {
        sum += numbers[i];
        if (sum > UINT32_MAX) return false;
        numbers[i] = (uint32_t)sum;
    }
    return true;
}

/* Parts n weights, and +0 for the others, into low and high bytes. */
static void split(unsigned char *low, unsigned char *high, const unsigned char *weights, size_t n) {
    unsigned char room[2 * MOE_PACKED_WEIGHTS] = {0};
    if (n < MOE_PACKED_WEIGHTS) weights = memcpy(room, weights, 2 * n);
    for (size_t i = 0; i < MOE_PACKED_WEIGHTS; i += RUN, weights += 2 * RUN) {
        const size_t at = place(i);
        for (size_t j = 0; j < RUN; j++) {
            low[at + j] = weights[2 * j];
            high[at + j] = weights[2 * j + 1];
        }
    }
}

/* Whether there is a code for all of them; if not, codes are 0. */
static bool encode(unsigned char *codes, const unsigned char *high, const unsigned char code[256]) {
    unsigned seen = 0;
    for (size_t i = 0; i < HALF; i++) {
        const unsigned a = code[high[i]], b = code[high[HALF + i]];
        codes[i] = (unsigned char)(a | b << 4);
        seen |= a | b;
    }
    if (!(seen & UNKNOWN)) return true;
    memset(codes, 0, MOE_PACKED_CODES);
    return false;
}

void moe_packed_write(const struct moe_packed_parts *out, const struct moe_matrix *w, size_t first,
                      size_t n) {
    unsigned char code[256];
    invert(code, out->table);
    const size_t n_blocks = moe_packed_blocks(w->cols);
    for (size_t r = first; r < first + n; r++) {
        const unsigned char *weights = moe_matrix_row(w, r);
        unsigned char *to = out->data + r * n_blocks * MOE_PACKED_BYTES;
        size_t e = out->first[r];
        for (size_t b = 0; b < n_blocks; b++, to += MOE_PACKED_BYTES) {
            unsigned char high[MOE_PACKED_WEIGHTS];
            split(to + MOE_PACKED_CODES, high, weights, block_weights(w, b));
            weights += 2 * block_weights(w, b);
            if (encode(to, high, code)) continue;
            out->block[e] = (uint32_t)b;
            memcpy(out->high + e * MOE_PACKED_WEIGHTS, high, sizeof high);
            e++;
        }
    }
}

struct moe_matrix moe_packed_matrix(const struct moe_packed_parts *parts, size_t rows, size_t cols) {
    return (struct moe_matrix){.format = MOE_FORMAT_PACKED,
                               .rows = rows,
                               .cols = cols,
                               .row_bytes = moe_format_row_bytes(MOE_FORMAT_PACKED, cols),
                               .data = parts->data,
                               .escapes = {parts->table, parts->first, parts->block, parts->high}};
}

/* The high bytes of block b of row r if it is an escape, else NULL. */
static const unsigned char *find_escape(const struct moe_matrix *w, size_t r, size_t b) {
    const struct moe_escapes *e = &w->escapes;
    size_t from = moe_packed_number(e->first, r), to = moe_packed_number(e->first, r + 1);
    while (from < to) {
        const size_t middle = from + (to - from) / 2, block = moe_packed_number(e->block, middle);
        if (block == b) return moe_packed_high(e, middle);
        if (block < b)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

/* Of block b of row r the elements [first, first + n). */
static void unpack_block(uint16_t *out, const struct moe_matrix *w, size_t r, size_t b, size_t first,
                         size_t n) {
    const unsigned char *codes = moe_matrix_row(w, r) + b * MOE_PACKED_BYTES, *low = codes + MOE_PACKED_CODES;
    const unsigned char *table = w->escapes.table, *escape = find_escape(w, r, b);
    for (size_t i = 0; i < n; i++) {
        const size_t at = place(first + i);
        const unsigned code = codes[at % HALF] >> (at < HALF ? 0 : 4) & 15;
        const unsigned high = escape ? escape[at] : table[code];
        out[i] = (uint16_t)(low[at] | high << 8);
    }
}

void moe_packed_unpack(uint16_t *out, const struct moe_matrix *w, size_t r, size_t first, size_t n) {
    for (size_t at = first, end = first + n; at < end;) {
        const size_t b = at / MOE_PACKED_WEIGHTS, next = (b + 1) * MOE_PACKED_WEIGHTS;
        const size_t here = (next < end ? next : end) - at;
        unpack_block(out + (at - first), w, r, b, at % MOE_PACKED_WEIGHTS, here);
        at += here;
    }
}

bool moe_packed_check(const struct moe_matrix *w, size_t n_escapes) {
    const size_t n_blocks = moe_packed_blocks(w->cols);
    for (size_t r = 0; r < w->rows; r++) {
        const size_t from = moe_packed_number(w->escapes.first, r),
                     to = moe_packed_number(w->escapes.first, r + 1);
        if (from > to || to > n_escapes) return false;
        size_t next = 0; /* the least block that this may be */
        for (size_t e = from; e < to; e++) {
            const size_t b = moe_packed_number(w->escapes.block, e);
            if (b < next || b >= n_blocks) return false;
            next = b + 1;
        }
    }
    return true;
}

size_t moe_packed_escape_bytes(const struct moe_matrix *w) {
    const size_t n = moe_packed_number(w->escapes.first, w->rows) - moe_packed_number(w->escapes.first, 0);
    return MOE_PACKED_TABLE + (w->rows + 1) * sizeof(uint32_t) + n * (sizeof(uint32_t) + MOE_PACKED_WEIGHTS);
}
