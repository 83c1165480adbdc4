#include "models/packed_tensor.h"

#include "base/packed.h"

/* *at += n * size, overflow remembered. */
static void advance(size_t *at, size_t n, size_t size, bool *overflow) {
    size_t bytes;
    *overflow |= __builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(*at, bytes, at);
}

bool moe_escapes_lay_out(struct moe_escapes_layout *out, size_t n_tables, size_t n_rows, size_t n_escapes) {
    bool overflow = false;
    size_t at = 0;
    advance(&at, n_tables, MOE_PACKED_TABLE, &overflow);
    out->first = at;
    advance(&at, n_rows, sizeof(uint32_t), &overflow);
    advance(&at, 1, sizeof(uint32_t), &overflow);
    out->block = at;
    advance(&at, n_escapes, sizeof(uint32_t), &overflow);
    advance(&at, -at % MOE_PACKED_ALIGN, 1, &overflow);
    out->high = at;
    advance(&at, n_escapes, MOE_PACKED_WEIGHTS, &overflow);
    out->n_bytes = at;
    return !overflow;
}
