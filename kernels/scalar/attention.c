#include <math.h>

#include "kernels/scalar/exp.h"
#include "kernels/scalar/lanes.h"
#include "kernels/scalar/table.h"

static float dot_with_key(const struct moe_attention_block *a, size_t i, size_t j) {
    float dot = 0;
    for (size_t d = 0; d < a->key_dim; d++)
        dot = fmaf(a->q[i * a->key_dim + d], a->keys[d * MOE_KEY_BLOCK + j], dot);
    return dot;
}

/* One query against the keys that it sees. */
static void attend(const struct moe_attention_block *a, size_t i) {
    float *p = a->scores + i * MOE_KEY_BLOCK, *out = a->out + i * a->value_dim;
    const size_t first = a->first[i], last = a->last[i];

    float max = a->max[i];
    for (size_t j = first; j < last; j++) {
        if (a->keys) p[j] = dot_with_key(a, i, j);
        p[j] *= a->scale;
        if (p[j] > max) max = p[j];
    }

    const float c = moe_exp(a->max[i] - max);
    float tree[MOE_KEY_BLOCK] = {0};
    for (size_t j = first; j < last; j++) tree[j] = p[j] = moe_exp(p[j] - max);
    a->sum[i] = fmaf(a->sum[i], c, moe_tree_sum(tree, MOE_KEY_BLOCK));
    a->max[i] = max + 0.0f;

    for (size_t d = 0; d < a->value_dim; d++) {
        float v = out[d] * c;
        for (size_t j = first; j < last; j++) v = fmaf(p[j], a->values[j * a->ld_values + d], v);
        out[d] = v;
    }
}

void moe_attention_block_scalar(const struct moe_attention_block *a) {
    for (size_t i = 0; i < a->n_q; i++)
        if (a->first[i] < a->last[i]) attend(a, i);
}
