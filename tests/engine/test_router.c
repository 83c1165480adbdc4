/* The router on its own: what no checkpoint shows. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "engine/router.h"
#include "kernels/select.h"

enum { EXPERTS = 12 };

/* One of each way to choose. */
static const struct moe_router_family ways[] = {
    {.score = MOE_SCORE_SOFTMAX},
    {.score = MOE_SCORE_SOFTMAX, .correction = MOE_CORRECTION_ROW},
    {.score = MOE_SCORE_SOFTMAX, .grouping = MOE_GROUPS_BY_METHOD},
    {.score = MOE_SCORE_SIGMOID, .grouping = MOE_GROUPS_TOP_2_SUM, .correction = MOE_CORRECTION_VECTOR},
    {.score = MOE_SCORE_CHOSEN_SOFTMAX},
    {.score = MOE_SCORE_SPARSEMIXER},
    {.score = MOE_SCORE_CHOSEN_SIGMOID, .correction = MOE_CORRECTION_VECTOR},
};
enum { N_WAYS = sizeof ways / sizeof *ways };

struct routed {
    uint32_t ids[EXPERTS];
    float weights[EXPERTS];
};

/* Routes one row; correction may be NULL. */
static struct routed route(size_t way, const float *logits, const float *correction, size_t top_k) {
    const struct moe_family family = {.router = ways[way]};
    struct moe_layer_spec layer = {.top_k = top_k};
    struct moe_spec spec = {.family = &family, .n_experts = EXPERTS, .top_k = top_k, .layers = &layer};
    spec.router = (struct moe_router_spec){.score = family.router.score,
                                           .n_choices = EXPERTS,
                                           .n_groups = family.router.grouping ? 4 : 1,
                                           .top_groups = 2,
                                           .norm_power = 1,
                                           .scale = 1,
                                           .closeness = 0.02f};
    const struct moe_layer_weights weights = {.correction = correction};
    struct moe_kernels kernels;
    struct moe_router router;
    struct moe_arena arena = {0};
    moe_kernels_select(&kernels, MOE_ISA_scalar);
    moe_router_take(&router, &arena, &spec, 1, 1);
    cr_assert_eq(moe_arena_back(&arena, NULL), MOE_OK);
    moe_router_take(&router, &arena, &spec, 1, 1);
    memcpy(router.logits, logits, EXPERTS * sizeof *logits);
    moe_router_choose(&router, &spec, 0, &weights, &kernels, 0, 0);
    struct routed out = {0};
    memcpy(out.ids, router.ids, top_k * sizeof *out.ids);
    memcpy(out.weights, router.weights, top_k * sizeof *out.weights);
    moe_arena_free(&arena);
    return out;
}

/* The scheduler indexes by id: whatever a model computes, ids are in range and no expert comes twice. */
Test(router, ids_are_valid_whatever_the_logits) {
    static const float values[] = {0, -0.0f, 1, -1, 90, -90, 3e38f, -3e38f, INFINITY, -INFINITY, NAN};
    const size_t n_values = sizeof values / sizeof *values;
    const float correction[EXPERTS] = {0, -5, NAN, INFINITY, -INFINITY, 1};
    uint32_t state = 1;
    for (size_t trial = 0; trial < 4000; trial++) {
        float logits[EXPERTS];
        for (size_t i = 0; i < EXPERTS; i++) {
            state = state * 1664525 + 1013904223;
            logits[i] = values[trial < n_values ? trial : (state >> 16) % n_values];
        }
        for (size_t way = 0; way < N_WAYS; way++) {
            size_t top_k = ways[way].score == MOE_SCORE_SPARSEMIXER ? 2 : 1 + trial % 6;
            const struct routed r =
                route(way, logits, ways[way].correction && trial % 2 ? correction : NULL, top_k);
            for (size_t j = 0; j < top_k; j++) {
                cr_assert_lt(r.ids[j], EXPERTS, "way %zu, trial %zu", way, trial);
                for (size_t k = 0; k < j; k++)
                    cr_assert_neq(r.ids[j], r.ids[k], "way %zu, trial %zu", way, trial);
            }
        }
    }
}

/* Corrections that are all negative: experts outside the best groups are out, not merely at 0. */
Test(router, groups_that_are_out_stay_out) {
    const float logits[EXPERTS] = {4, 4, 4, 3, 3, 3, -9, -9, -9, -9, -9, -9};
    const float correction[EXPERTS] = {-9, -9, -9, -9, -9, -9, -9.5f, -9.5f, -9.5f, -9.5f, -9.5f, -9.5f};
    const struct routed r = route(3, logits, correction, 6);
    for (size_t j = 0; j < 6; j++) cr_expect_lt(r.ids[j], 6, "%u", r.ids[j]);
    cr_expect_float_eq(r.weights[0], 1 / (1 + expf(-4)), 1e-6, "the weight has no correction in it");
}

Test(router, the_correction_decides_but_does_not_weigh) {
    float logits[EXPERTS] = {2, 1}, correction[EXPERTS] = {0};
    correction[7] = 1;
    const struct routed r = route(1, logits, correction, 2);
    double sum = exp(2) + exp(1) + EXPERTS - 2;
    cr_expect_eq(r.ids[0], 7);
    cr_expect_float_eq(r.weights[0], 1 / sum, 1e-6);
    cr_expect_eq(r.ids[1], 0);
    cr_expect_float_eq(r.weights[1], exp(2) / sum, 1e-6);
}

/* Sparsemixer by hand: closeness is relative, the second round knows the first only as taken. */
Test(router, sparsemixer_weighs_each_among_its_equals) {
    const float logits[EXPERTS] = {10, 9.9f, 9.5f, 9.4f, 1, 1, 1, 1, 1, 1, 1, 1};
    const struct routed r = route(5, logits, NULL, 2);
    cr_expect(r.ids[0] == 0 && r.ids[1] == 1);
    cr_expect_float_eq(r.weights[0], 1 / (1 + exp(-0.1)), 1e-6, "9.9 is close to 10, 9.5 is not");
    cr_expect_float_eq(r.weights[1], 1, 1e-6, "of 9.9 nothing is left that is close");
}

/* Chosen by corrected logits, weighed by the sigmoids of those that were not corrected. */
Test(router, sigmoids_of_the_chosen_are_of_their_own_logits) {
    const float logits[EXPERTS] = {2, 1, 0.5f}, correction[EXPERTS] = {0, 0, 9};
    const struct routed r = route(6, logits, correction, 2);
    cr_expect(r.ids[0] == 2 && r.ids[1] == 0);
    cr_expect_float_eq(r.weights[0], 1 / (1 + exp(-0.5)), 1e-6);
    cr_expect_float_eq(r.weights[1], 1 / (1 + exp(-2)), 1e-6);
}
