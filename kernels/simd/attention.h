/* Up to QUERIES queries at a time share the loads of keys and values. Within a group the keys that all of
 * them see are taken together, those before and after by each query alone, always in ascending order.
 *
 * With few queries a block is bound by memory, and prefetchers alone do not keep up: so the first group asks
 * for the block's values while it reads keys, and for the next block's keys while it reads values. */
#include "kernels/simd/exp.h"
#include "kernels/simd/lanes.h"

enum { BLOCK_VECS = MOE_KEY_BLOCK / VEC, LINE_BYTES = 64 };

static inline size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static inline size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Asks for n floats from p on. */
MOE_INLINE void ask(const float *p, const size_t n) {
    MOE_UNROLL
    for (size_t i = 0; i < n * sizeof *p; i += LINE_BYTES)
        __builtin_prefetch((const unsigned char *)p + i, 0, 2);
}

/* Dots of n queries from the i-th on for the vectors of keys that cover [first, last). */
MOE_INLINE void score(const struct moe_attention_block *a, size_t i, const size_t n, size_t first,
                      size_t last) {
    const size_t step = KEY_VECS * VEC;
    for (size_t j = first / step * step; j < last; j += step) {
        vec dot[QUERIES][KEY_VECS];
        MOE_UNROLL
        for (size_t r = 0; r < n; r++) {
            MOE_UNROLL
            for (size_t v = 0; v < KEY_VECS; v++) dot[r][v] = v_set1(0);
        }
        const float *key = a->keys + j, *q = a->q + i * a->key_dim;
        for (size_t d = 0; d < a->key_dim; d++, key += MOE_KEY_BLOCK) {
            vec k[KEY_VECS];
            if (i == 0) ask(a->values + d * MOE_KEY_BLOCK + j, step);
            MOE_UNROLL
            for (size_t v = 0; v < KEY_VECS; v++) k[v] = v_load(key + v * VEC);
            MOE_UNROLL
            for (size_t r = 0; r < n; r++) {
                const vec e = v_set1(q[r * a->key_dim + d]);
                MOE_UNROLL
                for (size_t v = 0; v < KEY_VECS; v++) dot[r][v] = v_fma(e, k[v], dot[r][v]);
            }
        }
        MOE_UNROLL
        for (size_t r = 0; r < n; r++) {
            MOE_UNROLL
            for (size_t v = 0; v < KEY_VECS; v++)
                v_store(a->scores + (i + r) * MOE_KEY_BLOCK + j + v * VEC, dot[r][v]);
        }
    }
}

/* Which lanes of the v-th vector of a block lie in [first, last). */
MOE_INLINE mask visible(size_t v, size_t first, size_t last) {
    const size_t base = v * VEC;
    return v_between(smaller(larger(first, base) - base, VEC), smaller(larger(last, base) - base, VEC));
}

/* Turns the dots of query i into weights; returns the factor of what was summed before. */
static float weigh(const struct moe_attention_block *a, size_t i) {
    float *p = a->scores + i * MOE_KEY_BLOCK, lane[VEC], max = a->max[i];
    const size_t first = a->first[i], last = a->last[i];
    vec most = v_set1(max), e[BLOCK_VECS];
    MOE_UNROLL
    for (size_t v = 0; v < BLOCK_VECS; v++) {
        e[v] = v_mul(v_load(p + v * VEC), v_set1(a->scale));
        most = v_max(v_select(visible(v, first, last), e[v], most), most);
    }
    v_store(lane, most);
    for (size_t l = 0; l < VEC; l++)
        if (lane[l] > max) max = lane[l];
    MOE_UNROLL
    for (size_t v = 0; v < BLOCK_VECS; v++) {
        e[v] = v_select(visible(v, first, last), v_exp(v_sub(e[v], v_set1(max))), v_set1(0));
        v_store(p + v * VEC, e[v]);
    }
    const float c = moe_exp(a->max[i] - max);
    a->sum[i] = fmaf(a->sum[i], c, v_tree_of(e, BLOCK_VECS));
    a->max[i] = max + 0.0f;
    return c;
}

/* n_vecs vectors of the values' columns from d on, or the last n_tail < VEC columns, for n queries. */
MOE_INLINE void sum_columns(const struct moe_attention_block *a, size_t i, const size_t n, const float *c,
                            size_t d, const size_t n_vecs, size_t n_tail, size_t first, size_t last) {
    vec sum[QUERIES][VALUE_VECS];
    float *out = a->out + i * a->value_dim + d;
    const float *p = a->scores + i * MOE_KEY_BLOCK, *values = a->values + d;
    MOE_UNROLL
    for (size_t r = 0; r < n; r++) {
        MOE_UNROLL
        for (size_t v = 0; v < n_vecs; v++) {
            const float *at = out + r * a->value_dim + v * VEC;
            sum[r][v] = v_mul(n_tail ? v_load_n(at, n_tail) : v_load(at), v_set1(c[r]));
        }
        for (size_t j = a->first[i + r]; j < first; j++) {
            MOE_UNROLL
            for (size_t v = 0; v < n_vecs; v++) {
                const float *at = values + j * a->ld_values + v * VEC;
                sum[r][v] = v_fma(v_set1(p[r * MOE_KEY_BLOCK + j]),
                                  n_tail ? v_load_n(at, n_tail) : v_load(at), sum[r][v]);
            }
        }
    }
    for (size_t j = first; j < last; j++) {
        vec x[VALUE_VECS];
        if (i == 0 && a->ahead) ask(a->ahead + j * a->value_dim + d, n_vecs * VEC);
        MOE_UNROLL
        for (size_t v = 0; v < n_vecs; v++) {
            const float *at = values + j * a->ld_values + v * VEC;
            x[v] = n_tail ? v_load_n(at, n_tail) : v_load(at);
        }
        MOE_UNROLL
        for (size_t r = 0; r < n; r++) {
            const vec e = v_set1(p[r * MOE_KEY_BLOCK + j]);
            MOE_UNROLL
            for (size_t v = 0; v < n_vecs; v++) sum[r][v] = v_fma(e, x[v], sum[r][v]);
        }
    }
    MOE_UNROLL
    for (size_t r = 0; r < n; r++) {
        for (size_t j = last; j < a->last[i + r]; j++) {
            MOE_UNROLL
            for (size_t v = 0; v < n_vecs; v++) {
                const float *at = values + j * a->ld_values + v * VEC;
                sum[r][v] = v_fma(v_set1(p[r * MOE_KEY_BLOCK + j]),
                                  n_tail ? v_load_n(at, n_tail) : v_load(at), sum[r][v]);
            }
        }
        MOE_UNROLL
        for (size_t v = 0; v < n_vecs; v++) {
            float *at = out + r * a->value_dim + v * VEC;
            if (n_tail)
                v_store_n(at, sum[r][v], n_tail);
            else
                v_store(at, sum[r][v]);
        }
    }
}

/* All columns; [first, last) is seen by every one of the n queries. */
MOE_INLINE void sum_values(const struct moe_attention_block *a, size_t i, const size_t n, const float *c,
                           size_t first, size_t last) {
    size_t d = 0;
    for (; d + VALUE_VECS * VEC <= a->value_dim; d += VALUE_VECS * VEC)
        sum_columns(a, i, n, c, d, VALUE_VECS, 0, first, last);
    for (; d + VEC <= a->value_dim; d += VEC) sum_columns(a, i, n, c, d, 1, 0, first, last);
    if (d < a->value_dim) sum_columns(a, i, n, c, d, 1, a->value_dim - d, first, last);
}

static void attend_one(const struct moe_attention_block *a, size_t i) {
    if (a->first[i] >= a->last[i]) return;
    if (a->keys) score(a, i, 1, a->first[i], a->last[i]);
    const float c = weigh(a, i);
    sum_values(a, i, 1, &c, a->first[i], a->last[i]);
}

static void attend_group(const struct moe_attention_block *a, size_t i) {
    size_t first = 0, last = MOE_KEY_BLOCK, least = MOE_KEY_BLOCK, most = 0;
    for (size_t r = i; r < i + QUERIES; r++) {
        first = larger(first, a->first[r]);
        last = smaller(last, a->last[r]);
        least = smaller(least, a->first[r]);
        most = larger(most, a->last[r]);
    }
    if (first >= last) {
        for (size_t r = i; r < i + QUERIES; r++) attend_one(a, r);
        return;
    }
    float c[QUERIES];
    if (a->keys) score(a, i, QUERIES, least, most);
    for (size_t r = 0; r < QUERIES; r++) c[r] = weigh(a, i + r);
    sum_values(a, i, QUERIES, c, first, last);
}

void MOE_NAME(attention_block)(const struct moe_attention_block *a) {
    size_t i = 0;
    for (; i + QUERIES <= a->n_q; i += QUERIES) attend_group(a, i);
    for (; i < a->n_q; i++) attend_one(a, i);
}
