#include "engine/dispatch.h"

#include <string.h>

void moe_dispatch_take(struct moe_dispatch *out, struct moe_arena *arena, size_t max_rows, size_t n_experts,
                       size_t top_k) {
    size_t n_next = n_experts > max_rows ? n_experts : max_rows;
    out->n_experts = n_experts;
    out->first = moe_arena_take(arena, n_experts + 1, sizeof *out->first);
    out->row = moe_arena_take(arena, max_rows, top_k * sizeof *out->row);
    out->expert = moe_arena_take(arena, max_rows, top_k * sizeof *out->expert);
    out->weight = moe_arena_take(arena, max_rows, top_k * sizeof *out->weight);
    out->pair = moe_arena_take(arena, max_rows, top_k * sizeof *out->pair);
    out->next = moe_arena_take(arena, n_next, sizeof *out->next);
}

void moe_dispatch_sort(struct moe_dispatch *d, const uint32_t *ids, const float *weights, size_t n_rows,
                       size_t top_k) {
    size_t n_pairs = n_rows * top_k;
    d->top_k = top_k;
    memset(d->first, 0, (d->n_experts + 1) * sizeof *d->first);
    for (size_t i = 0; i < n_pairs; i++) d->first[ids[i] + 1]++;
    for (size_t e = 0; e < d->n_experts; e++) d->first[e + 1] += d->first[e];

    memcpy(d->next, d->first, d->n_experts * sizeof *d->next);
    for (size_t i = 0; i < n_pairs; i++) {
        uint32_t p = d->next[ids[i]]++;
        d->row[p] = (uint32_t)(i / top_k);
        d->expert[p] = ids[i];
        d->weight[p] = weights[i];
    }
    /* walking the pairs by expert gives each row its own in ascending expert */
    memset(d->next, 0, n_rows * sizeof *d->next);
    for (uint32_t p = 0; p < n_pairs; p++) {
        uint32_t r = d->row[p];
        d->pair[r * top_k + d->next[r]++] = p;
    }
}
