/* Any logits and any parameters: an error, or a token that the filters let through, the same every time.
 *
 * The input: how the parameters are chosen (1 byte), their bits (struct parameters), then the tokens of the
 * history, one byte each, then the logits, four bytes each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_VOCAB = 96 };

struct parameters {
    uint32_t temperature, top_p, min_p, repeat_penalty; /* bits of floats */
    uint64_t seed, position;
    uint16_t top_k;
    uint8_t n_history, usual; /* bit i of usual: parameter i is one that users choose */
};

struct request {
    moe_sampling sampling;
    uint64_t position;
    size_t n_vocab, n_history;
    float logits[MAX_VOCAB], scores[MAX_VOCAB]; /* scores: penalised */
    uint32_t history[256];
};

static float number(uint32_t bits, bool usual, const float *choices, size_t n) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return usual ? choices[bits % n] : x;
}

static void read_request(struct request *r, struct fuzz_bytes rest) {
    static const float temperatures[] = {0, 1, 0.7f, 1e-3f, 1e-38f, 2e38f}, ps[] = {1, 0.9f, 0.5f, 1e-6f},
                       mins[] = {0, 0.1f, 1, 1e-30f}, penalties[] = {1, 1.1f, 0.5f, 2};
    struct parameters p;
    fuzz_take(&p, sizeof p, &rest);
    *r = (struct request){.position = p.position};
    r->sampling = (moe_sampling){.temperature = number(p.temperature, p.usual & 1, temperatures, 6),
                                 .top_p = number(p.top_p, p.usual & 2, ps, 4),
                                 .min_p = number(p.min_p, p.usual & 4, mins, 4),
                                 .repeat_penalty = number(p.repeat_penalty, p.usual & 8, penalties, 4),
                                 .top_k = p.usual & 16 ? p.top_k % 4 : p.top_k,
                                 .seed = p.seed};
    for (; r->n_history < p.n_history && rest.n > 0; r->n_history++) {
        uint8_t token;
        fuzz_take(&token, 1, &rest);
        r->history[r->n_history] = token;
    }
    for (; r->n_vocab < MAX_VOCAB && rest.n > 0; r->n_vocab++)
        fuzz_take(&r->logits[r->n_vocab], sizeof(float), &rest);
}

static bool is_in(double x, double min, double max) {
    return x >= min && x <= max;
}

static bool parameters_are_fine(const struct request *r) {
    const moe_sampling *s = &r->sampling;
    return r->n_vocab > 0 && is_in((double)s->temperature, 0, 3e38) && is_in((double)s->top_p, 0, 1) &&
           s->top_p > 0 && is_in((double)s->min_p, 0, 1) && is_in((double)s->repeat_penalty, 0, 3e38) &&
           s->repeat_penalty > 0;
}

/* The scores, and the best of them. What must fail: a number that is none, no token at all, a history that is
 * none of this vocabulary. */
static bool score(struct request *r, float *best) {
    float penalty = r->sampling.repeat_penalty;
    memcpy(r->scores, r->logits, sizeof r->scores);
    for (size_t i = 0; i < r->n_history && penalty != 1; i++) {
        if (r->history[i] >= r->n_vocab) return false;
        float x = r->logits[r->history[i]];
        r->scores[r->history[i]] = x < 0 ? x * penalty : x / penalty;
    }
    *best = -INFINITY;
    for (size_t i = 0; i < r->n_vocab; i++) {
        if (isnan(r->logits[i]) || r->logits[i] == INFINITY || r->scores[i] == INFINITY) return false;
        if (r->scores[i] > *best) *best = r->scores[i];
    }
    return *best != -INFINITY;
}

static double weight(const struct request *r, float score, float best) {
    return exp(((double)score - (double)best) / (double)r->sampling.temperature);
}

/* Whether the filters let the token through, as far as rounding lets it be told. */
static void check_filters(const struct request *r, uint32_t token, float best) {
    const moe_sampling *s = &r->sampling;
    float mine = r->scores[token];
    size_t n_better = 0;
    double total = 0, better = 0;
    for (size_t i = 0; i < r->n_vocab; i++) n_better += r->scores[i] > mine;
    if (s->top_k > 0) FUZZ_CHECK(n_better < s->top_k);
    if (s->temperature == 0) {
        FUZZ_CHECK(mine == best);
        for (size_t i = 0; i < token; i++) FUZZ_CHECK(r->scores[i] < best);
        return;
    }
    FUZZ_CHECK(weight(r, mine, best) >= (double)s->min_p * (1 - 1e-9));
    if (s->top_k > 0 && s->top_k < r->n_vocab) return; /* the total is that of the k best */
    for (size_t i = 0; i < r->n_vocab; i++) {
        total += weight(r, r->scores[i], best);
        if (r->scores[i] > mine) better += weight(r, r->scores[i], best);
    }
    FUZZ_CHECK(n_better == 0 || better < (double)s->top_p * total * (1 + 1e-9));
}

static moe_status choose(uint32_t *token, moe_sampler *sampler, const struct request *r, moe_error *err) {
    return moe_sampler_choose(token, sampler, r->logits, r->history, r->n_history, r->position, err);
}

/* The second time, and by another sampler that has drawn something else before. */
static void check_again(moe_sampler *sampler, struct request *r, uint32_t token) {
    moe_sampler *other;
    moe_error err;
    uint32_t again = UINT32_MAX;
    FUZZ_CHECK(choose(&again, sampler, r, &err) == MOE_OK && again == token);
    FUZZ_CHECK(moe_sampler_open(&other, r->n_vocab, &r->sampling, &err) == MOE_OK);
    r->position++;
    FUZZ_CHECK(choose(&again, other, r, &err) == MOE_OK && again < r->n_vocab);
    r->position--;
    FUZZ_CHECK(choose(&again, other, r, &err) == MOE_OK && again == token);
    moe_sampler_close(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct request r;
    moe_sampler *sampler = (void *)&sampler;
    moe_error err = fuzz_error();
    uint32_t token = UINT32_MAX;
    float best = 0;
    read_request(&r, (struct fuzz_bytes){data, n});
    moe_status status = moe_sampler_open(&sampler, r.n_vocab, &r.sampling, &err);
    bool opened = fuzz_opened(status, sampler, &err);
    FUZZ_CHECK(opened == parameters_are_fine(&r));
    if (!opened) return 0;
    err = fuzz_error();
    bool chosen = fuzz_succeeded(choose(&token, sampler, &r, &err), &err);
    FUZZ_CHECK(chosen == score(&r, &best));
    if (chosen) {
        FUZZ_CHECK(token < r.n_vocab && isfinite(r.logits[token]) && isfinite(r.scores[token]));
        check_filters(&r, token, best);
        check_again(sampler, &r, token);
    }
    moe_sampler_close(sampler);
    return 0;
}
