/* Scores, a choice among them, and weights: each step a value of an axis of the family. */
#include "engine/router.h"

#include <math.h>

void moe_router_take(struct moe_router *out, struct moe_arena *arena, const struct moe_spec *spec,
                     size_t max_rows, size_t n_workers) {
    out->logits = moe_arena_take(arena, max_rows, spec->router.n_choices * sizeof(float));
    out->ids = moe_arena_take(arena, max_rows, spec->top_k * sizeof(uint32_t));
    out->weights = moe_arena_take(arena, max_rows, spec->top_k * sizeof(float));
    out->scores = moe_arena_take(arena, n_workers, spec->router.n_choices * sizeof(float));
    out->choice = moe_arena_take(arena, n_workers, spec->router.n_choices * sizeof(float));
    out->groups = moe_arena_take(arena, n_workers, spec->router.n_groups * sizeof(float));
}

/* One row of one worker. */
struct choice {
    const struct moe_spec *spec;
    const struct moe_kernels *kernels;
    size_t n, top_k;
    const float *logits, *correction; /* [n]; correction may be NULL */
    float *scores, *compared;         /* [n] */
    float *groups;                    /* [n_groups] */
    uint32_t *ids;                    /* [top_k] */
    float *weights;                   /* [top_k] */
};

/* Marks what was taken: -inf would be found again among others, and a NaN never. */
static const float taken = NAN;

/* The first of the largest of x [n] that are not NaN; if all are, the first that is not in ids [n_ids]. */
static size_t find_largest(const float *x, size_t n, const uint32_t *ids, size_t n_ids) {
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (best == n ? !isnan(x[i]) : x[i] > x[best]) best = i;
    for (size_t i = 0; best == n && i < n; i++) {
        bool is_new = true;
        for (size_t j = 0; j < n_ids; j++) is_new &= ids[j] != i;
        if (is_new) best = i;
    }
    return best;
}

static void score(const struct choice *c) {
    size_t n = c->n;
    float cap = c->spec->router.soft_cap;
    const float *logits = c->logits;
    if (cap > 0) {
        for (size_t i = 0; i < n; i++) c->compared[i] = (float)tanh((double)(logits[i] / cap)) * cap;
        logits = c->compared;
    }
    switch (c->spec->router.score) {
    case MOE_SCORE_SOFTMAX:
        c->kernels->softmax(c->scores, logits, n);
        break;
    case MOE_SCORE_SIGMOID:
        c->kernels->sigmoid(c->scores, logits, n);
        break;
    case MOE_SCORE_CHOSEN_SOFTMAX:
    case MOE_SCORE_CHOSEN_SIGMOID:
    case MOE_SCORE_BY_KEY: /* is one of the others in a spec */
    case MOE_SCORE_SPARSEMIXER:
        for (size_t i = 0; i < n; i++) c->scores[i] = logits[i];
        break;
    }
    for (size_t i = 0; i < n; i++)
        c->compared[i] = c->correction ? c->scores[i] + c->correction[i] : c->scores[i];
}

/* What a group of experts is chosen by. */
static float rate_group(const struct choice *c, const float *x, size_t n) {
    float first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (x[i] > first) {
            second = first;
            first = x[i];
        } else if (x[i] > second) {
            second = x[i];
        }
    }
    return c->spec->family->router.grouping == MOE_GROUPS_TOP_2_SUM ? first + second : first;
}

/* Leaves only the experts of the best groups comparable. */
static void choose_groups(const struct choice *c) {
    const struct moe_router_spec *r = &c->spec->router;
    size_t size = c->n / r->n_groups;
    for (size_t g = 0; g < r->n_groups; g++) c->groups[g] = rate_group(c, c->compared + g * size, size);
    for (size_t j = 0; j < r->top_groups; j++) {
        size_t best = 0;
        for (size_t g = 1; g < r->n_groups; g++)
            if (isnan(c->groups[best]) || c->groups[g] > c->groups[best]) best = g;
        c->groups[best] = taken;
    }
    for (size_t g = 0; g < r->n_groups; g++)
        for (size_t i = 0; i < size && !isnan(c->groups[g]); i++) c->compared[g * size + i] = -INFINITY;
}

static void choose_top_k(const struct choice *c) {
    for (size_t j = 0; j < c->top_k; j++) {
        size_t best = find_largest(c->compared, c->n, c->ids, j);
        c->ids[j] = (uint32_t)best;
        c->weights[j] = c->scores[best];
        c->compared[best] = taken;
    }
}

/* What the weights are divided by. */
static float norm_of(const struct moe_router_spec *r, const float *weights, size_t n) {
    float sum = 0;
    if (r->norm_power == 1) {
        for (size_t j = 0; j < n; j++) sum += weights[j];
    } else {
        for (size_t j = 0; j < n; j++) sum += powf(fabsf(weights[j]), r->norm_power);
        sum = powf(sum, 1 / r->norm_power);
    }
    sum += r->sum_added;
    return sum < r->sum_min ? r->sum_min : sum;
}

static void weigh(const struct choice *c) {
    const struct moe_router_spec *r = &c->spec->router;
    if (r->score == MOE_SCORE_CHOSEN_SOFTMAX) c->kernels->softmax(c->weights, c->weights, c->top_k);
    if (r->score == MOE_SCORE_CHOSEN_SIGMOID) c->kernels->sigmoid(c->weights, c->weights, c->top_k);
    float norm = norm_of(r, c->weights, c->top_k);
    for (size_t j = 0; j < c->top_k; j++)
        c->weights[j] = (r->renorm ? c->weights[j] / norm : c->weights[j]) * r->scale;
}

/* Two experts, one after the other (transformers: sparsemixer): the largest score, and its share in a softmax
 * over those that are close to it; then the same without it. Closeness is relative to the size of the logit
 * itself, of those taken out as well. */
static void mix_sparsely(const struct choice *c) {
    size_t n = c->n;
    for (size_t i = 0; i < n; i++) c->scores[i] = c->logits[i];
    for (size_t j = 0; j < 2; j++) {
        size_t best = find_largest(c->scores, n, c->ids, j);
        float most = c->scores[best];
        for (size_t i = 0; i < n; i++) {
            float size = fabsf(c->logits[i]);
            if (size < most) size = most;
            bool far = (most - c->logits[i]) / size > c->spec->router.closeness;
            c->compared[i] = far ? -INFINITY : c->scores[i];
        }
        if (j) c->compared[c->ids[0]] = -INFINITY;
        c->kernels->softmax(c->compared, c->compared, n);
        c->ids[j] = (uint32_t)best;
        c->weights[j] = c->compared[best];
        c->scores[best] = taken;
    }
}

void moe_router_choose(const struct moe_router *router, const struct moe_spec *spec, size_t layer,
                       const struct moe_layer_weights *weights, const struct moe_kernels *kernels, size_t row,
                       size_t worker) {
    const struct moe_router_spec *r = &spec->router;
    size_t n = r->n_choices, top_k = spec->layers[layer].top_k;
    float *logits = router->logits + row * n;
    const struct choice c = {.spec = spec,
                             .kernels = kernels,
                             .n = n,
                             .top_k = top_k,
                             .logits = logits,
                             .correction = weights->correction,
                             .scores = router->scores + worker * n,
                             .compared = router->choice + worker * n,
                             .groups = router->groups + worker * r->n_groups,
                             .ids = router->ids + row * top_k,
                             .weights = router->weights + row * top_k};
    if (weights->router.bias) kernels->add(logits, weights->router.bias, n);
    bool plain = r->score == MOE_SCORE_SOFTMAX && !weights->correction && r->n_groups == 1 && r->scale == 1 &&
                 r->soft_cap == 0 && r->norm_power == 1 && r->sum_added == 0 && r->sum_min == 0;
    if (plain) {
        kernels->router_softmax_topk(c.ids, c.weights, logits, c.scores, n, top_k, r->renorm);
    } else if (r->score == MOE_SCORE_SPARSEMIXER) {
        mix_sparsely(&c);
    } else {
        score(&c);
        if (r->n_groups > 1) choose_groups(&c);
        choose_top_k(&c);
        weigh(&c);
    }
}
