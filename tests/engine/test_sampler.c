/* The sampler against a plain restatement of transformers' processors, Philox's published vectors, and
 * counts. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"

enum { VOCAB = 61, DRAWS = 4000 };

static const moe_sampling plain = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};

static moe_sampler *open_sampler(size_t vocab, moe_sampling sampling) {
    moe_sampler *s = NULL;
    moe_error err = {{0}};
    cr_assert_eq(moe_sampler_open(&s, vocab, &sampling, &err), MOE_OK, "%s", err.message);
    return s;
}

static uint32_t choose(moe_sampler *s, const float *logits, size_t position) {
    uint32_t token = UINT32_MAX;
    moe_error err = {{0}};
    cr_assert_eq(moe_sampler_choose(&token, s, logits, NULL, 0, position, &err), MOE_OK, "%s", err.message);
    return token;
}

/* A small generator of test data, so that a failing case can be named by its seed. */
static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void fill_logits(float *logits, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) /* quarters: ties are common */
        logits[i] = (float)((int)(next_random(&seed) % 48) - 24) / 4;
}

/* ---- greedy ------------------------------------------------------------------------------------------- */

Test(sampler, greedy_takes_the_first_of_the_largest) {
    moe_sampling greedy = plain;
    greedy.temperature = 0;
    moe_sampler *s = open_sampler(5, greedy);
    cr_expect_eq(choose(s, (float[]){1, 3, 2, 3, 0}, 9), 1);
    cr_expect_eq(choose(s, (float[]){-INFINITY, -INFINITY, -INFINITY, -7, -8}, 9), 3);
    cr_expect_eq(choose(s, (float[]){-3e38f, -3e38f, -3e38f, -3e38f, -2e38f}, 9), 4);
    moe_sampler_close(s);
}

Test(sampler, penalty_divides_positive_and_multiplies_negative_logits_once) {
    moe_sampling greedy = plain;
    greedy.temperature = 0;
    greedy.repeat_penalty = 2;
    moe_sampler *s = open_sampler(3, greedy);
    moe_error err;
    uint32_t token;
    const uint32_t twice[] = {0, 0, 0};
    /* 4 / 2 = 2 > 1.5; divided at every occurrence it would be 0.5 */
    cr_expect_eq(moe_sampler_choose(&token, s, (float[]){4, 1.5f, -1}, twice, 3, 3, &err), MOE_OK);
    cr_expect_eq(token, 0);
    cr_expect_eq(moe_sampler_choose(&token, s, (float[]){4, 2.5f, -1}, twice, 3, 3, &err), MOE_OK);
    cr_expect_eq(token, 1);
    cr_expect_eq(moe_sampler_choose(&token, s, (float[]){-1, -1.5f, -9}, twice, 3, 3, &err), MOE_OK);
    cr_expect_eq(token, 1);
    moe_sampler_close(s);
}

/* ---- what is refused ---------------------------------------------------------------------------------- */

Test(sampler, refuses_what_is_no_distribution) {
    for (int greedy = 0; greedy <= 1; greedy++) {
        moe_sampling sampling = plain;
        if (greedy) sampling.temperature = 0;
        moe_sampler *s = open_sampler(4, sampling);
        const float bad[][4] = {{0, NAN, 1, 2},
                                {0, 1, 2, NAN},
                                {INFINITY, 0, 0, 0},
                                {-INFINITY, -INFINITY, -INFINITY, -INFINITY}};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            uint32_t token = 7;
            moe_error err = {{0}};
            cr_expect_eq(moe_sampler_choose(&token, s, bad[i], NULL, 0, 0, &err), MOE_E_NUMERIC, "case %zu",
                         i);
            cr_expect_neq(err.message[0], '\0');
            cr_expect_eq(moe_sampler_choose(&token, s, bad[i], NULL, 0, 0, NULL), MOE_E_NUMERIC);
        }
        moe_sampler_close(s);
    }
}

Test(sampler, refuses_a_history_outside_the_vocabulary_and_an_infinite_penalised_logit) {
    moe_sampling sampling = plain;
    sampling.repeat_penalty = 1e-30f;
    moe_sampler *s = open_sampler(2, sampling);
    moe_error err = {{0}};
    uint32_t token;
    const float logits[] = {1e20f, 0};
    cr_expect_eq(moe_sampler_choose(&token, s, logits, (uint32_t[]){2}, 1, 1, &err), MOE_E_ARGUMENT);
    cr_expect_eq(moe_sampler_choose(&token, s, logits, (uint32_t[]){0}, 1, 1, &err), MOE_E_NUMERIC);
    moe_sampler_close(s);
}

Test(sampler, refuses_parameters_outside_their_ranges) {
    moe_sampling bad[10];
    for (size_t i = 0; i < 10; i++) bad[i] = plain;
    bad[0].temperature = -0.1f;
    bad[1].temperature = NAN;
    bad[2].temperature = INFINITY;
    bad[3].top_p = 0;
    bad[4].top_p = 1.01f;
    bad[5].top_p = NAN;
    bad[6].min_p = -0.1f;
    bad[7].min_p = 1.1f;
    bad[8].repeat_penalty = 0;
    bad[9].repeat_penalty = -1;
    for (size_t i = 0; i < 10; i++) {
        moe_sampler *s = (moe_sampler *)&bad;
        cr_expect_eq(moe_sampler_open(&s, 8, &bad[i], NULL), MOE_E_ARGUMENT, "case %zu", i);
        cr_expect_null(s);
    }
    moe_sampler *s;
    cr_expect_eq(moe_sampler_open(&s, 0, &plain, NULL), MOE_E_ARGUMENT);
    cr_expect_eq(moe_sampler_open(&s, (size_t)UINT32_MAX + 1, &plain, NULL), MOE_E_ARGUMENT);
    moe_sampler_close(NULL);
}

/* ---- the generator ------------------------------------------------------------------------------------ */

/* With 65536 equal logits the token is the top 16 bits of the first word: Random123's kat_vectors for
 * philox4x32-10, counter and key 0, begin with 6627e8d5. The second value is this counter and key, computed
 * with an independent implementation. */
Test(sampler, draws_are_philox) {
    float *logits = calloc(65536, sizeof *logits);
    cr_assert_not_null(logits);
    moe_sampler *s = open_sampler(65536, plain);
    cr_expect_eq(choose(s, logits, 0), 0x6627);
    moe_sampler_close(s);
    moe_sampling sampling = plain;
    sampling.seed = 0x299f31d0a4093822u;
    s = open_sampler(65536, sampling);
    cr_expect_eq(choose(s, logits, 0x85a308d3243f6a88u), 0xe69c);
    moe_sampler_close(s);
    free(logits);
}

Test(sampler, a_draw_depends_on_seed_and_position_alone) {
    float logits[VOCAB];
    fill_logits(logits, VOCAB, 3);
    moe_sampler *a = open_sampler(VOCAB, plain), *b = open_sampler(VOCAB, plain);
    uint32_t forward[50];
    for (size_t i = 0; i < 50; i++) forward[i] = choose(a, logits, i);
    for (size_t i = 50; i-- > 0;) cr_expect_eq(choose(b, logits, i), forward[i]);
    moe_sampling other = plain;
    other.seed = 1;
    moe_sampler *c = open_sampler(VOCAB, other);
    size_t same = 0;
    for (size_t i = 0; i < 50; i++) same += choose(c, logits, i) == forward[i];
    cr_expect_lt(same, 50);
    moe_sampler_close(a);
    moe_sampler_close(b);
    moe_sampler_close(c);
}

/* Counts within 5 standard deviations of what softmax says: the seed is fixed, so this fails always or never.
 */
Test(sampler, frequencies_are_those_of_softmax) {
    const float logits[] = {0, 1, 2, -1, 2};
    for (int t = 1; t <= 3; t++) {
        moe_sampling sampling = plain;
        sampling.temperature = (float)t / 2;
        moe_sampler *s = open_sampler(5, sampling);
        size_t count[5] = {0};
        for (size_t i = 0; i < DRAWS; i++) count[choose(s, logits, i)]++;
        double total = 0;
        for (size_t i = 0; i < 5; i++) total += exp((double)logits[i] / (double)sampling.temperature);
        for (size_t i = 0; i < 5; i++) {
            double p = exp((double)logits[i] / (double)sampling.temperature) / total;
            double deviation = sqrt(DRAWS * p * (1 - p));
            cr_expect_lt(fabs((double)count[i] - DRAWS * p), 5 * deviation, "T %d/2, token %zu: %zu", t, i,
                         count[i]);
        }
        moe_sampler_close(s);
    }
}

/* ---- the filters -------------------------------------------------------------------------------------- */

static int by_logit(const void *a, const void *b) {
    const float *x = *(const float *const *)a, *y = *(const float *const *)b;
    if (*x != *y) return *x < *y ? 1 : -1;
    return x < y ? -1 : 1; /* equal: the smaller id is the better one */
}

/* transformers' warpers in their order, on sorted tokens, one step at a time. */
static void reference_support(bool keep[VOCAB], const float *logits, moe_sampling p) {
    const float *sorted[VOCAB];
    double weight[VOCAB], total = 0, before = 0;
    for (size_t i = 0; i < VOCAB; i++) sorted[i] = logits + i;
    qsort(sorted, VOCAB, sizeof *sorted, by_logit);
    size_t n = VOCAB;
    if (p.top_k > 0 && p.top_k < VOCAB)
        for (n = p.top_k; n < VOCAB && *sorted[n] == *sorted[p.top_k - 1];) n++;
    for (size_t i = 0; i < n; i++)
        total += weight[i] = exp(((double)*sorted[i] - (double)*sorted[0]) / (double)p.temperature);
    size_t kept = 0;
    for (; kept < n && (kept == 0 || before < (double)p.top_p * total); kept++) before += weight[kept];
    if (p.top_p == 1) kept = n;
    memset(keep, 0, VOCAB * sizeof *keep);
    for (size_t i = 0; i < kept; i++)
        if (weight[i] >= (double)p.min_p) keep[sorted[i] - logits] = true;
}

Test(sampler, filters_keep_what_transformers_keeps) {
    const size_t ks[] = {0, 1, 2, 7, 40, VOCAB, 1000};
    const float ps[] = {1, 0.05f, 0.5f, 0.9f, 0.999f}, mins[] = {0, 0.02f, 0.3f, 1};
    uint64_t seed = 1;
    for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
        for (size_t p = 0; p < sizeof ps / sizeof *ps; p++)
            for (size_t m = 0; m < sizeof mins / sizeof *mins; m++, seed++) {
                moe_sampling sampling = {3, ks[k], ps[p], mins[m], 1, seed};
                float logits[VOCAB];
                fill_logits(logits, VOCAB, seed);
                bool keep[VOCAB], seen[VOCAB] = {false};
                reference_support(keep, logits, sampling);
                moe_sampler *s = open_sampler(VOCAB, sampling);
                for (size_t i = 0; i < DRAWS; i++) seen[choose(s, logits, i)] = true;
                moe_sampler_close(s);
                for (size_t i = 0; i < VOCAB; i++) {
                    cr_expect(!seen[i] || keep[i], "seed %zu: token %zu should be gone", (size_t)seed, i);
                    /* a kept token with a logit of 2 or more has a chance above 1 %; rarer ones may stay
                     * unseen */
                    cr_expect(seen[i] || !keep[i] || logits[i] < 2, "seed %zu: token %zu never drawn",
                              (size_t)seed, i);
                }
            }
}

Test(sampler, minus_infinity_is_never_drawn) {
    float logits[VOCAB];
    for (size_t i = 0; i < VOCAB; i++) logits[i] = -INFINITY;
    logits[17] = -5;
    logits[40] = -6;
    moe_sampling sampling = plain;
    for (size_t k = 0; k < 4; k++) { /* top_k 3 asks for more than there are */
        sampling.top_k = k;
        moe_sampler *s = open_sampler(VOCAB, sampling);
        for (size_t i = 0; i < 500; i++) {
            uint32_t token = choose(s, logits, i);
            cr_expect(token == 17 || (token == 40 && k != 1), "k %zu drew %u", k, token);
        }
        moe_sampler_close(s);
    }
}

Test(sampler, extreme_temperatures_neither_overflow_nor_stick) {
    moe_sampling sampling = plain;
    sampling.temperature = 1e-38f; /* logits / temperature would be infinite */
    moe_sampler *s = open_sampler(3, sampling);
    for (size_t i = 0; i < 100; i++) cr_expect_eq(choose(s, (float[]){-1e30f, 1e30f, 1e29f}, i), 1);
    moe_sampler_close(s);
    sampling.temperature = 1e38f; /* everything is equally likely */
    s = open_sampler(3, sampling);
    size_t count[3] = {0};
    for (size_t i = 0; i < 300; i++) count[choose(s, (float[]){-10, 10, 0}, i)]++;
    for (size_t i = 0; i < 3; i++) cr_expect_gt(count[i], 60);
    moe_sampler_close(s);
}
