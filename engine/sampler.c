/* Chooses the next token from logits. The filters run in the order of transformers' GenerationMixin
 * (repetition penalty, temperature, top-k, top-p, min-p), with the semantics of its warpers: ties with the
 * k-th logit stay, top-p keeps the smallest set of best tokens that reaches p, min-p is relative to the best
 * token.
 *
 * The draw is counter-based: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011) keyed by the seed, its counter the position. So a token depends on its logits, seed and
 * position alone, never on how many draws came before it: a sequence that is resumed, or that shares a batch,
 * draws what it would have drawn by itself. Weights are sums and products of doubles in one fixed order, the
 * exponential included (libm's differs between machines in its last bit), so a seed means the same
 * everywhere.
 *
 * No filter sorts the vocabulary. top-k keeps a heap of k; top-p pops a heap until p is reached, which for
 * the usual p is after a few tokens. */

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

struct candidate {
    float logit; /* after the repeat penalty; finite */
    uint32_t id;
    double weight; /* exp((logit - best) / temperature): in [0, 1] */
};

struct moe_sampler {
    struct moe_sampling sampling;
    size_t vocab_size;
    float *scores;                /* [vocab_size], penalised */
    struct candidate *candidates; /* [vocab_size] */
};

static bool is_in(double x, double min, double max) {
    return x >= min && x <= max; /* false for NaN */
}

static moe_status check_sampling(const moe_sampling *s, moe_error *err) {
    if (!is_in((double)s->temperature, 0, 3e38))
        return MOE_FAIL(err, MOE_E_ARGUMENT, "temperature: %g, expected a number that is 0 or more",
                        (double)s->temperature);
    if (!is_in((double)s->top_p, 0, 1) || s->top_p == 0)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "top_p: %g, expected a number above 0, at most 1",
                        (double)s->top_p);
    if (!is_in((double)s->min_p, 0, 1))
        return MOE_FAIL(err, MOE_E_ARGUMENT, "min_p: %g, expected a number from 0 to 1", (double)s->min_p);
    if (!is_in((double)s->repeat_penalty, 0, 3e38) || s->repeat_penalty == 0)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "repeat_penalty: %g, expected a number above 0",
                        (double)s->repeat_penalty);
    return MOE_OK;
}

moe_status moe_sampler_open(moe_sampler **out, size_t vocab_size, const moe_sampling *sampling,
                            moe_error *err) {
    *out = NULL;
    MOE_TRY(check_sampling(sampling, err));
    if (vocab_size == 0 || vocab_size > UINT32_MAX)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "vocabulary of %zu tokens, expected 1 to %u", vocab_size,
                        UINT32_MAX);
    moe_sampler *s = calloc(1, sizeof *s);
    if (s) {
        *s = (moe_sampler){.sampling = *sampling, .vocab_size = vocab_size};
        s->scores = calloc(vocab_size, sizeof *s->scores);
        s->candidates = calloc(vocab_size, sizeof *s->candidates);
    }
    if (!s || !s->scores || !s->candidates) {
        moe_sampler_close(s);
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: a sampler for %zu tokens", vocab_size);
    }
    *out = s;
    return MOE_OK;
}

void moe_sampler_close(moe_sampler *s) {
    if (!s) return;
    free(s->scores);
    free(s->candidates);
    free(s);
}

/* ---- the generator ------------------------------------------------------------------------------------ */

/* One block of Philox4x32-10; 53 of its bits as a number in [0, 1). */
static double philox_uniform(uint64_t seed, uint64_t position) {
    uint32_t c0 = (uint32_t)position, c1 = (uint32_t)(position >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    uint64_t bits = (uint64_t)c0 << 32 | c1;
    return (double)(bits >> 11) * 0x1p-53;
}

/* exp(x) for x <= 0, in double: 2^k times the Taylor series of the rest, |rest| <= ln 2 / 2, whose 14 terms
 * leave less than 1e-17 of it. Below -700 it is 0: such a token has no chance in 53 bits. */
static double exp_negative(double x) {
    static const double inverse_factorial[] = {1.0,
                                               1.0,
                                               1.0 / 2,
                                               1.0 / 6,
                                               1.0 / 24,
                                               1.0 / 120,
                                               1.0 / 720,
                                               1.0 / 5040,
                                               1.0 / 40320,
                                               1.0 / 362880,
                                               1.0 / 3628800,
                                               1.0 / 39916800,
                                               1.0 / 479001600,
                                               1.0 / 6227020800,
                                               1.0 / 87178291200};
    if (!(x > -700)) return 0;
    double k = (double)(int)(x * 1.4426950408889634 - 0.5); /* truncation upwards: the nearest integer */
    double rest =
        (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33; /* ln 2 in two parts: k * high is exact */
    double sum = inverse_factorial[14];
    for (int n = 13; n >= 0; n--) sum = inverse_factorial[n] + sum * rest;
    uint64_t bits = (uint64_t)((int64_t)k + 1023) << 52; /* 2^k: k > -1022 */
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

/* ---- heaps -------------------------------------------------------------------------------------------- */

/* The order of the candidates: the larger logit, and of equal ones the smaller id. */
static bool is_better(const struct candidate *a, const struct candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* Restores the heap c [n], whose first element is the best (or, with `worst`, the worst), below element i. */
static void sift_down(struct candidate *c, size_t n, size_t i, bool worst) {
    for (;;) {
        size_t top = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (worst ? is_better(&c[top], &c[child]) : is_better(&c[child], &c[top])) top = child;
        if (top == i) return;
        struct candidate t = c[i];
        c[i] = c[top];
        c[top] = t;
        i = top;
    }
}

static void make_heap(struct candidate *c, size_t n, bool worst) {
    for (size_t i = n / 2; i-- > 0;) sift_down(c, n, i, worst);
}

/* ---- the filters -------------------------------------------------------------------------------------- */

/* Logits into s->scores, penalised; refuses what is no distribution. */
static moe_status score(moe_sampler *s, const float *logits, const uint32_t *history, size_t n_history,
                        moe_error *err) {
    for (size_t i = 0; i < s->vocab_size; i++)
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return MOE_FAIL(err, MOE_E_NUMERIC, "logit of token %zu is %s: the model cannot be sampled", i,
                            isnan(logits[i]) ? "not a number" : "infinite");
    memcpy(s->scores, logits, s->vocab_size * sizeof *logits);
    float penalty = s->sampling.repeat_penalty;
    if (penalty == 1) return MOE_OK;
    for (size_t i = 0; i < n_history; i++) {
        if (history[i] >= s->vocab_size)
            return MOE_FAIL(err, MOE_E_ARGUMENT, "token %u in the history, but the vocabulary has %zu",
                            history[i], s->vocab_size);
        float x = logits[history[i]]; /* the unpenalised one: a token that occurs twice is penalised once */
        float penalised = x < 0 ? x * penalty : x / penalty;
        if (penalised == INFINITY)
            return MOE_FAIL(err, MOE_E_NUMERIC, "repeat_penalty %g: the logit of token %u becomes infinite",
                            (double)penalty, history[i]);
        s->scores[history[i]] = penalised;
    }
    return MOE_OK;
}

/* Collects the tokens whose logit is at least `least` into the candidates, by ascending id. */
static size_t collect(moe_sampler *s, float least) {
    size_t n = 0;
    for (size_t i = 0; i < s->vocab_size; i++)
        if (s->scores[i] >= least && s->scores[i] != -INFINITY)
            s->candidates[n++] = (struct candidate){.logit = s->scores[i], .id = (uint32_t)i};
    return n;
}

/* The k-th largest score (-infinity if there are fewer finite ones): a heap of the k best so far, worst
 * first. */
static float kth_largest(moe_sampler *s, size_t k) {
    size_t n = 0;
    struct candidate *heap = s->candidates;
    for (size_t i = 0; i < s->vocab_size; i++) {
        if (s->scores[i] == -INFINITY) continue;
        struct candidate c = {.logit = s->scores[i], .id = (uint32_t)i};
        if (n < k) {
            heap[n++] = c;
            if (n == k) make_heap(heap, n, true);
        } else if (is_better(&c, &heap[0])) {
            heap[0] = c;
            sift_down(heap, n, 0, true);
        }
    }
    return n < k ? -INFINITY : heap[0].logit;
}

/* Moves the smallest set of best candidates whose weight reaches p of the total to the front; its size. */
static size_t keep_top_p(struct candidate *c, size_t n, double p) {
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) total += c[i].weight;
    make_heap(c, n, false);
    size_t kept = 0, left = n;
    /* a popped candidate lands where the heap has just given up a place, at the end: best ones last */
    while (left > 0 && (kept == 0 || sum < p * total)) {
        sum += c[0].weight;
        struct candidate best = c[0];
        c[0] = c[--left];
        sift_down(c, left, 0, false);
        c[left] = best;
        kept++;
    }
    memmove(c, c + left, kept * sizeof *c);
    return kept;
}

static size_t keep_min_p(struct candidate *c, size_t n, double min_p) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (c[i].weight >= min_p) c[kept++] = c[i]; /* the best weighs 1 */
    return kept;
}

static uint32_t draw(const struct candidate *c, size_t n, double uniform) {
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) total += c[i].weight;
    double target = uniform * total;
    for (size_t i = 0; i < n; i++) {
        sum += c[i].weight;
        if (sum > target) return c[i].id;
    }
    /* uniform < 1, but uniform * total may round up to the total */
    while (n > 1 && c[n - 1].weight == 0) n--;
    return c[n - 1].id;
}

moe_status moe_sampler_choose(uint32_t *token, moe_sampler *s, const float *logits, const uint32_t *history,
                              size_t n_history, size_t position, moe_error *err) {
    *token = 0;
    MOE_TRY(score(s, logits, history, n_history, err));
    size_t best = 0;
    for (size_t i = 1; i < s->vocab_size; i++)
        if (s->scores[i] > s->scores[best]) best = i;
    if (s->scores[best] == -INFINITY)
        return MOE_FAIL(err, MOE_E_NUMERIC, "every logit is -infinity: the model cannot be sampled");
    *token = (uint32_t)best;
    if (s->sampling.temperature == 0) return MOE_OK;

    size_t k = s->sampling.top_k;
    size_t n = collect(s, k > 0 && k < s->vocab_size ? kth_largest(s, k) : -INFINITY);
    assert(n > 0); /* the best token passes every filter */
    for (size_t i = 0; i < n; i++) {
        double below = (double)s->candidates[i].logit - (double)s->scores[best];
        s->candidates[i].weight = exp_negative(below / (double)s->sampling.temperature);
    }
    if (s->sampling.top_p < 1) n = keep_top_p(s->candidates, n, (double)s->sampling.top_p);
    if (s->sampling.min_p > 0) n = keep_min_p(s->candidates, n, (double)s->sampling.min_p);
    *token = draw(s->candidates, n, philox_uniform(s->sampling.seed, position));
    return MOE_OK;
}
