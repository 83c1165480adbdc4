/* Operations on fp32 vectors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kernel_bench.h"

enum { FFN = 768, HEAD = 128, PAIRS = HEAD / 2, EXPERTS = 128 };

struct vectors {
    float *x, *y, *z;
};

static struct vectors vectors(void) {
    return (struct vectors){random_floats(4 * WIDTH), random_floats(4 * WIDTH), random_floats(4 * WIDTH)};
}

static void free_vectors(struct vectors *v) {
    free(v->x);
    free(v->y);
    free(v->z);
}

/* Defines bench_<op>: `call` on vectors v, elements n, bytes moved and operations done per element. */
#define BENCH_VECTOR(name, n, n_bytes, n_flops, call)                                                        \
    static void run_##name(struct bench *b, void *args, size_t times) {                                      \
        struct vectors *v = args;                                                                            \
        for (size_t i = 0; i < times; i++) b->k.call;                                                        \
    }                                                                                                        \
    void bench_##name(struct bench *b) {                                                                     \
        struct vectors v = vectors();                                                                        \
        char text[32];                                                                                       \
        snprintf(text, sizeof text, "n %d", (int)(n));                                                       \
        report(b, &(struct result){.op = #name,                                                              \
                                   .what = text,                                                             \
                                   .seconds = measure(b, run_##name, &v),                                    \
                                   .bytes = (n_bytes) * (double)(n),                                         \
                                   .flops = (n_flops) * (double)(n)});                                       \
        free_vectors(&v);                                                                                    \
    }

BENCH_VECTOR(rmsnorm, WIDTH, 12, 4, rmsnorm(v->y, v->x, v->z, WIDTH, 1e-6f))
BENCH_VECTOR(layernorm, WIDTH, 16, 8, layernorm(v->y, v->x, v->z, v->y + WIDTH, WIDTH, 1e-5f))
BENCH_VECTOR(rope_angles, PAIRS, 12, 0, rope_angles(v->y, v->z, v->x, PAIRS, 12345, 1))
BENCH_VECTOR(clamp, WIDTH, 8, 2, clamp(v->x, WIDTH, 8))
BENCH_VECTOR(add, WIDTH, 12, 1, add(v->y, v->x, WIDTH))
BENCH_VECTOR(scale, WIDTH, 8, 1, scale(v->y, v->x, WIDTH, 0.5f))
BENCH_VECTOR(mul, WIDTH, 12, 1, mul(v->y, v->x, WIDTH))
BENCH_VECTOR(axpy, WIDTH, 12, 2, axpy(v->y, v->x, WIDTH, 1e-6f))
BENCH_VECTOR(swiglu, FFN, 12, 24, swiglu(v->y, v->x, v->z, FFN))
BENCH_VECTOR(swiglu_clamped, FFN, 12, 29, swiglu_clamped(v->y, v->x, v->z, FFN, 1.702f, 7))
BENCH_VECTOR(sigmoid, FFN, 8, 23, sigmoid(v->y, v->x, FFN))
BENCH_VECTOR(softplus, EXPERTS, 8, 0, softplus(v->y, v->x, EXPERTS))
BENCH_VECTOR(softmax, EXPERTS, 8, 23, softmax(v->y, v->x, EXPERTS))

typedef void rotate_fn(float *x, const float *c, const float *s, size_t n);

struct rotation {
    rotate_fn *rotate;
    struct vectors v;
};

static void run_rotation(struct bench *b, void *args, size_t times) {
    (void)b;
    const struct rotation *r = args;
    for (size_t i = 0; i < times; i++) r->rotate(r->v.x, r->v.y, r->v.z, PAIRS);
}

/* By real angles: anything else makes x grow or shrink until it is no ordinary number. */
static void bench_rotation(struct bench *b, const char *op, rotate_fn *rotate) {
    struct rotation r = {rotate, vectors()};
    float *frequencies = random_floats(PAIRS);
    b->k.rope_angles(r.v.y, r.v.z, frequencies, PAIRS, 12345, 1);
    report(b, &(struct result){.op = op,
                               .what = "n 64",
                               .seconds = measure(b, run_rotation, &r),
                               .bytes = 24 * PAIRS,
                               .flops = 6 * PAIRS});
    free(frequencies);
    free_vectors(&r.v);
}

void bench_rope_half(struct bench *b) {
    bench_rotation(b, "rope_half", b->k.rope_half);
}

void bench_rope_interleaved(struct bench *b) {
    bench_rotation(b, "rope_interleaved", b->k.rope_interleaved);
}

static void run_router(struct bench *b, void *args, size_t times) {
    struct vectors *v = args;
    uint32_t ids[8];
    float weights[8];
    for (size_t i = 0; i < times; i++) b->k.router_softmax_topk(ids, weights, v->x, v->y, EXPERTS, 8, true);
}

void bench_router_softmax_topk(struct bench *b) {
    struct vectors v = vectors();
    report(b, &(struct result){.op = "router_softmax_topk",
                               .what = "n 128, top 8",
                               .seconds = measure(b, run_router, &v),
                               .bytes = 4 * EXPERTS,
                               .flops = 23 * EXPERTS});
    free_vectors(&v);
}

static void run_attention(struct bench *b, void *args, size_t times) {
    for (size_t i = 0; i < times; i++) b->k.attention_block(args);
}

void bench_attention_block(struct bench *b) {
    enum { MOST = 64, LATENT = 512, LD_LATENT = 576 };
    static const struct {
        size_t n_q, key_dim, value_dim, ld_values; /* key_dim 0: the dots are given */
    } cases[] = {{1, HEAD, HEAD, HEAD},
                 {4, HEAD, HEAD, HEAD},
                 {8, HEAD, HEAD, HEAD},
                 {64, HEAD, HEAD, HEAD},
                 {16, 0, LATENT, LD_LATENT}};
    uint8_t first[MOST] = {0}, last[MOST];
    memset(last, MOE_KEY_BLOCK, sizeof last);
    float *q = random_floats(MOST * HEAD), *keys = random_floats(HEAD * MOE_KEY_BLOCK),
          *values = random_floats(LD_LATENT * MOE_KEY_BLOCK), *out = random_floats(MOST * LATENT),
          *scores = random_floats(MOST * MOE_KEY_BLOCK), max[MOST] = {0}, sum[MOST] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = cases[i].n_q, dims = cases[i].key_dim + cases[i].value_dim;
        struct moe_attention_block a = {.q = q,
                                        .n_q = n,
                                        .keys = cases[i].key_dim ? keys : NULL,
                                        .values = values,
                                        .key_dim = cases[i].key_dim,
                                        .value_dim = cases[i].value_dim,
                                        .ld_values = cases[i].ld_values,
                                        .scale = 0.09f,
                                        .first = first,
                                        .last = last,
                                        .max = max,
                                        .sum = sum,
                                        .out = out,
                                        .scores = scores};
        char what[32];
        snprintf(what, sizeof what, "%zu queries, %zu + %zu", n, cases[i].key_dim, cases[i].value_dim);
        report(b, &(struct result){.op = "attention_block",
                                   .what = what,
                                   .seconds = measure(b, run_attention, &a),
                                   .bytes = 4.0 * (double)(dims * MOE_KEY_BLOCK),
                                   .flops = 2.0 * (double)(n * dims * MOE_KEY_BLOCK)});
    }
    free(q);
    free(keys);
    free(values);
    free(out);
    free(scores);
}

struct reading {
    moe_probe_read_fn *read;
};

static void run_read(struct bench *b, void *args, size_t times) {
    const struct reading *r = args;
    for (size_t i = 0; i < times; i++) b->sink = r->read(b->big, b->big_bytes);
}

static void bench_read(struct bench *b, const char *op, moe_probe_read_fn *read) {
    struct reading r = {read};
    char what[32];
    snprintf(what, sizeof what, "%zu MiB", b->big_bytes >> 20);
    report(b,
           &(struct result){
               .op = op, .what = what, .seconds = measure(b, run_read, &r), .bytes = (double)b->big_bytes});
}

void bench_probe_read(struct bench *b) {
    bench_read(b, "probe_read", b->k.probe_read);
}

void bench_probe_read_ahead(struct bench *b) {
    bench_read(b, "probe_read_ahead", b->k.probe_read_ahead);
}

void bench_probe_read_streams(struct bench *b) {
    bench_read(b, "probe_read_streams", b->k.probe_read_streams);
}

static void run_probe_fma(struct bench *b, void *args, size_t times) {
    (void)args;
    for (size_t i = 0; i < times; i++) b->sink = b->k.probe_fma(1000);
}

static void run_probe_pairs(struct bench *b, void *args, size_t times) {
    (void)args;
    for (size_t i = 0; i < times; i++) b->sink = b->k.probe_pairs(1000);
}

void bench_probe_pairs(struct bench *b) {
    report(b, &(struct result){.op = "probe_pairs",
                               .what = "1000 rounds",
                               .seconds = measure(b, run_probe_pairs, NULL),
                               .flops = 1000.0 * MOE_PROBE_FLOPS,
                               .precision = MOE_PRECISION_BF16});
}

void bench_probe_fma(struct bench *b) {
    report(b, &(struct result){.op = "probe_fma",
                               .what = "1000 rounds",
                               .seconds = measure(b, run_probe_fma, NULL),
                               .flops = 1000.0 * MOE_PROBE_FLOPS});
}
