#ifndef MOE_ENGINE_DISPATCH_H
#define MOE_ENGINE_DISPATCH_H
/* Tokens to experts: a counting sort of the (row, expert) pairs by expert. */

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Pair p = 0 .. n_rows * top_k - 1, in ascending expert, then ascending row. */
struct moe_dispatch {
    size_t n_experts, top_k; /* top_k: of the last sort */
    uint32_t *first;         /* [n_experts + 1]: expert e has pairs first[e] .. first[e + 1] - 1 */
    uint32_t *row, *expert;  /* [pairs] */
    float *weight;           /* [pairs] */
    uint32_t *pair; /* [n_rows, top_k]: the pairs of a row, in ascending expert: the order of every sum */
    uint32_t *next; /* [max(n_experts, n_rows)] scratch */
};

void moe_dispatch_take(struct moe_dispatch *out, struct moe_arena *arena, size_t max_rows, size_t n_experts,
                       size_t top_k);
/* Sorts ids [n_rows, top_k], distinct in a row, with their weights; top_k at most that of moe_dispatch_take.
 */
void moe_dispatch_sort(struct moe_dispatch *d, const uint32_t *ids, const float *weights, size_t n_rows,
                       size_t top_k);

#endif
