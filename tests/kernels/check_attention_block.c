/* One block of keys, for any mix of visible ranges, then the same with the dots given; several blocks, with
 * and without a sink, against softmax in double. */
#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

struct state {
    float *max, *sum, *out;
};

static struct state room(size_t n_q, size_t value_dim) {
    return (struct state){check_floats(n_q), check_floats(n_q), check_floats(n_q * value_dim)};
}

/* dots [n_q, MOE_KEY_BLOCK], or NULL where there are keys. */
static void run(const struct moe_kernels *k, struct moe_attention_block a, const float *dots,
                struct state s) {
    a.max = s.max;
    a.sum = s.sum;
    a.out = s.out;
    a.scores = check_aligned_floats(a.n_q * MOE_KEY_BLOCK);
    if (dots) memcpy(a.scores, dots, a.n_q * MOE_KEY_BLOCK * sizeof *dots);
    k->attention_block(&a);
}

static void compare(const struct moe_attention_block *a, struct state ref, struct state got) {
    const char *how = a->keys ? "keys" : "dots";
    check_same_bits(ref.max, got.max, a->n_q, "attention max: %zu queries, %zu x %zu, %s", a->n_q, a->key_dim,
                    a->value_dim, how);
    check_same_bits(ref.sum, got.sum, a->n_q, "attention sum: %zu queries, %zu x %zu, %s", a->n_q, a->key_dim,
                    a->value_dim, how);
    check_same_bits(ref.out, got.out, a->n_q * a->value_dim, "attention out: %zu queries, %zu x %zu, %s",
                    a->n_q, a->key_dim, a->value_dim, how);
}

static struct state copy(struct state from, const struct moe_attention_block *a) {
    const struct state s = room(a->n_q, a->value_dim);
    memcpy(s.max, from.max, a->n_q * sizeof *s.max);
    memcpy(s.sum, from.sum, a->n_q * sizeof *s.sum);
    memcpy(s.out, from.out, a->n_q * a->value_dim * sizeof *s.out);
    return s;
}

enum ranges { FULL, CAUSAL, PREFIX, WINDOW, ANY, RANGES };

static void fill_ranges(uint8_t *first, uint8_t *last, size_t n_q, enum ranges ranges) {
    const size_t start = check_below(MOE_KEY_BLOCK), end = check_below(MOE_KEY_BLOCK + 1);
    for (size_t i = 0; i < n_q; i++) {
        const size_t a = check_below(MOE_KEY_BLOCK + 1), b = check_below(MOE_KEY_BLOCK + 1),
                     causal = start + i + 1;
        first[i] = 0;
        last[i] = MOE_KEY_BLOCK;
        if (ranges == CAUSAL) last[i] = (uint8_t)(causal < MOE_KEY_BLOCK ? causal : MOE_KEY_BLOCK);
        if (ranges == PREFIX) last[i] = (uint8_t)end;
        if (ranges == WINDOW) {
            last[i] = (uint8_t)(causal < MOE_KEY_BLOCK ? causal : MOE_KEY_BLOCK);
            first[i] =
                (uint8_t)(causal > 20 ? (causal - 20 < MOE_KEY_BLOCK ? causal - 20 : MOE_KEY_BLOCK) : 0);
        }
        if (ranges == ANY) {
            first[i] = (uint8_t)a;
            last[i] = (uint8_t)b;
        }
    }
}

/* What no query sees may be anything, and so may what lies between the rows of values. */
static void spoil_hidden(float *keys, float *values, const struct moe_attention_block *a) {
    for (size_t j = 0; j < MOE_KEY_BLOCK; j++) {
        for (size_t d = a->value_dim; j + 1 < MOE_KEY_BLOCK && d < a->ld_values; d++)
            values[j * a->ld_values + d] = NAN;
        bool seen = false;
        for (size_t i = 0; i < a->n_q; i++) seen = seen || (a->first[i] <= j && j < a->last[i]);
        if (seen) continue;
        for (size_t d = 0; d < a->key_dim; d++) keys[d * MOE_KEY_BLOCK + j] = NAN;
        for (size_t d = 0; d < a->value_dim; d++) values[j * a->ld_values + d] = NAN;
    }
}

/* The dots of the keys that a query sees, and anything for the others. */
static float *find_dots(const struct moe_attention_block *a) {
    static const float hidden[] = {NAN, INFINITY, -INFINITY, 3e38f, 0};
    float *dots = check_floats(a->n_q * MOE_KEY_BLOCK);
    for (size_t i = 0; i < a->n_q; i++)
        for (size_t j = 0; j < MOE_KEY_BLOCK; j++) {
            float dot = hidden[check_below(sizeof hidden / sizeof *hidden)];
            if (a->first[i] <= j && j < a->last[i]) {
                dot = 0;
                for (size_t d = 0; d < a->key_dim; d++)
                    dot = fmaf(a->q[i * a->key_dim + d], a->keys[d * MOE_KEY_BLOCK + j], dot);
            }
            dots[i * MOE_KEY_BLOCK + j] = dot;
        }
    return dots;
}

/* Rows of values are `gap` floats further apart than they must be. */
static void check_case(const struct check *c, size_t n_q, size_t key_dim, size_t value_dim, size_t gap,
                       enum ranges ranges, enum check_fill kind) {
    const size_t ld = value_dim + gap, value_floats = (MOE_KEY_BLOCK - 1) * ld + value_dim;
    float *q = check_floats(n_q * key_dim), *keys = check_aligned_floats(key_dim * MOE_KEY_BLOCK);
    float *values = check_aligned_floats(value_floats);
    uint8_t *first = check_bytes(n_q, 1), *last = check_bytes(n_q, 1);
    check_fill(q, n_q * key_dim, kind);
    check_fill(keys, key_dim * MOE_KEY_BLOCK, kind);
    check_fill(values, value_floats, kind);
    fill_ranges(first, last, n_q, ranges);
    struct moe_attention_block a = {.q = q,
                                    .n_q = n_q,
                                    .keys = keys,
                                    .values = values,
                                    .key_dim = key_dim,
                                    .value_dim = value_dim,
                                    .ld_values = ld,
                                    .scale = 1 / sqrtf((float)key_dim),
                                    .first = first,
                                    .last = last};
    spoil_hidden(keys, values, &a);
    const float *dots = find_dots(&a);
    const struct state ref = room(n_q, value_dim);
    const bool fresh = check_below(2);
    for (size_t i = 0; i < n_q; i++) {
        ref.max[i] = fresh ? -INFINITY : 0.1f * (float)check_below(10);
        ref.sum[i] = fresh ? 0 : 1.5f;
    }
    if (fresh)
        memset(ref.out, 0, n_q * value_dim * sizeof *ref.out);
    else
        check_fill(ref.out, n_q * value_dim, kind);
    const struct state got = copy(ref, &a), of_dots = copy(ref, &a);
    run(c->ref, a, NULL, ref);
    run(&c->k, a, NULL, got);
    compare(&a, ref, got);
    a.q = a.keys = NULL;
    run(&c->k, a, dots, of_dots);
    compare(&a, ref, of_dots);
    check_reset();
}

/* Three blocks, the last one partly visible, against softmax in double. With S the largest sum of |q k|
 * scale, a score is wrong by at most (d + 2) u S, so e^(s - m) by a factor 1 +- 2 (d + 4) u S + 2 u, in
 * numerator and denominator alike, and each of the 192 terms is rounded once per sum and rescaled three
 * times. A sink, a score without a value, is one term more of the sum; -inf: there is none. */
static void near_double(const struct check *c, size_t key_dim, size_t value_dim, float sink) {
    enum { BLOCKS = 3, SEEN = 2 * MOE_KEY_BLOCK + 17 };
    const size_t ld = value_dim + 5, key_floats = key_dim * MOE_KEY_BLOCK, value_floats = ld * MOE_KEY_BLOCK;
    float *q = check_floats(key_dim), *keys = check_aligned_floats(BLOCKS * key_floats);
    float *values = check_aligned_floats(BLOCKS * value_floats);
    check_fill(q, key_dim, CHECK_UNIT);
    check_fill(keys, BLOCKS * key_floats, CHECK_UNIT);
    check_fill(values, BLOCKS * value_floats, CHECK_UNIT);
    const struct state s = room(1, value_dim);
    s.max[0] = sink;
    s.sum[0] = sink == -INFINITY ? 0 : 1;
    memset(s.out, 0, value_dim * sizeof *s.out);
    const double scale = (double)(1 / sqrtf((float)key_dim));
    for (size_t b = 0; b < BLOCKS; b++) {
        const uint8_t first = 0, last = (uint8_t)(b + 1 < BLOCKS ? MOE_KEY_BLOCK : SEEN - 2 * MOE_KEY_BLOCK);
        run(&c->k,
            (struct moe_attention_block){.q = q,
                                         .n_q = 1,
                                         .keys = keys + b * key_floats,
                                         .values = values + b * value_floats,
                                         .key_dim = key_dim,
                                         .value_dim = value_dim,
                                         .ld_values = ld,
                                         .scale = (float)scale,
                                         .first = &first,
                                         .last = &last},
            NULL, s);
    }
    double p[SEEN], max = (double)sink, sum = 0, largest = sink == -INFINITY ? 0 : fabs((double)sink);
    for (size_t j = 0; j < SEEN; j++) {
        double dot = 0, terms = 0;
        for (size_t d = 0; d < key_dim; d++) {
            const float *block = keys + j / MOE_KEY_BLOCK * key_floats;
            const double term = (double)q[d] * (double)block[d * MOE_KEY_BLOCK + j % MOE_KEY_BLOCK] * scale;
            dot += term;
            terms += fabs(term);
        }
        p[j] = dot;
        max = fmax(max, dot);
        largest = fmax(largest, terms);
    }
    for (size_t j = 0; j < SEEN; j++) sum += p[j] = exp(p[j] - max);
    sum += exp((double)sink - max);
    const double factor = CHECK_U * (4 * ((double)key_dim + 4) * largest + 8 + 2 * (SEEN + 7));
    for (size_t d = 0; d < value_dim; d++) {
        double want = 0, terms = 0;
        for (size_t j = 0; j < SEEN; j++) {
            want += p[j] / sum * (double)values[j * ld + d];
            terms += p[j] / sum * fabs((double)values[j * ld + d]);
        }
        check_near(want, (double)s.out[d] / (double)s.sum[0], factor * terms,
                   "attention: %zu x %zu, sink %g, element %zu", key_dim, value_dim, (double)sink, d);
    }
    check_reset();
}

/* Scores that are zeros of both signs, by underflow: whichever is found first, max is +0. */
static void check_zero_max(const struct check *c) {
    enum { N_Q = 5, DIM = 3 };
    const uint8_t first[N_Q] = {0, 1, 0, 7, 33}, last[N_Q] = {64, 64, 20, 40, 50};
    float *q = check_floats(N_Q), *keys = check_aligned_floats(MOE_KEY_BLOCK);
    float *values = check_aligned_floats(MOE_KEY_BLOCK * DIM);
    for (size_t i = 0; i < N_Q; i++) q[i] = 1;
    for (size_t j = 0; j < MOE_KEY_BLOCK; j++) keys[j] = check_below(2) ? 0x1p-149f : -0x1p-149f;
    check_fill(values, MOE_KEY_BLOCK * DIM, CHECK_UNIT);
    const struct moe_attention_block a = {.q = q,
                                          .n_q = N_Q,
                                          .keys = keys,
                                          .values = values,
                                          .key_dim = 1,
                                          .value_dim = DIM,
                                          .ld_values = DIM,
                                          .scale = 0.25f,
                                          .first = first,
                                          .last = last};
    const struct state ref = room(N_Q, DIM), got = room(N_Q, DIM);
    for (size_t i = 0; i < N_Q; i++) {
        ref.max[i] = got.max[i] = -INFINITY;
        ref.sum[i] = got.sum[i] = 0;
    }
    memset(ref.out, 0, N_Q * DIM * sizeof *ref.out);
    memset(got.out, 0, N_Q * DIM * sizeof *got.out);
    run(c->ref, a, NULL, ref);
    run(&c->k, a, NULL, got);
    compare(&a, ref, got);
    for (size_t i = 0; i < N_Q; i++)
        if (got.max[i] != 0 || signbit(got.max[i]))
            cr_assert_fail("attention: max is %g", (double)got.max[i]);
    check_reset();
}

void check_attention_block(const struct check *c) {
    static const size_t dims[][2] = {{1, 1},   {2, 3},   {15, 17}, {16, 16},   {32, 32},   {33, 31},
                                     {64, 64}, {80, 96}, {96, 80}, {128, 128}, {192, 128}, {65, 129}};
    static const float sinks[] = {-INFINITY, -15, 0.5f, 15};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        const size_t key_dim = dims[d][0], value_dim = dims[d][1];
        for (int ranges = 0; ranges < RANGES; ranges++)
            for (int kind = 0; kind < CHECK_FILLS; kind++)
                for (size_t n_q = 1; n_q <= 9; n_q++)
                    check_case(c, n_q, key_dim, value_dim, check_below(2) ? check_below(20) : 0,
                               (enum ranges)ranges, (enum check_fill)kind);
        check_case(c, 70, key_dim, value_dim, 0, CAUSAL, CHECK_UNIT);
        for (size_t i = 0; c->scalar && i < sizeof sinks / sizeof *sinks; i++)
            near_double(c, key_dim, value_dim, sinks[i]);
    }
    for (int i = 0; i < 200; i++) check_case(c, 1 + check_below(12), 32, 48, 0, ANY, CHECK_UNIT);
    for (int i = 0; i < 20; i++) /* the latents of DeepSeek: 512 with the 64 of RoPE behind */
        check_case(c, 1 + check_below(12), 64, 512, 64, i % 2 ? ANY : CAUSAL,
                   (enum check_fill)check_below(CHECK_FILLS));
    for (int i = 0; i < 20; i++) check_zero_max(c);
}
