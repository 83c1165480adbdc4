#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

struct result {
    uint32_t *ids;
    float *weights, *scratch;
};

static struct result room(size_t n, size_t top_k) {
    return (struct result){check_bytes(top_k * sizeof(uint32_t), sizeof(uint32_t)), check_floats(top_k),
                           check_floats(n)};
}

/* Ids by the definition: no id chosen earlier or left out has a larger logit, equals in ascending order.
 * Weights: the argument of exp is rounded (u |x - m|), exp 2 u, z (n / 32 + 5) u more than its terms,
 * quotients and sums u each. */
static void near_double(const struct result *r, const float *logits, size_t n, size_t top_k, bool renorm) {
    bool chosen[2048] = {false};
    double max = -INFINITY, z = 0, total = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, (double)logits[i]);
    for (size_t i = 0; i < n; i++) z += exp((double)logits[i] - max);
    for (size_t j = 0; j < top_k; j++) total += exp((double)logits[r->ids[j]] - max) / z;
    for (size_t j = 0; j < top_k; j++) {
        cr_assert(r->ids[j] < n && !chosen[r->ids[j]]);
        chosen[r->ids[j]] = true;
        const double x = (double)logits[r->ids[j]] - max, want = exp(x) / z / (renorm ? total : 1);
        const double error = (2 * 20 + 4 + (double)n / MOE_LANES + 6 + (double)top_k + 3) * CHECK_U;
        check_near(want, (double)r->weights[j], want * error, "router: weight %zu of %zu", j, n);
        if (j > 0 && logits[r->ids[j]] > logits[r->ids[j - 1]]) cr_assert_fail("router: order of choice");
    }
    for (size_t i = 0; i < n; i++)
        if (!chosen[i] && logits[i] > logits[r->ids[top_k - 1]] + 1e-5f)
            cr_assert_fail("router: expert %zu left out", i);
}

static void check_case(const struct check *c, const float *logits, size_t n, size_t top_k, bool renorm,
                       bool tame) {
    const struct result ref = room(n, top_k), got = room(n, top_k);
    c->ref->router_softmax_topk(ref.ids, ref.weights, logits, ref.scratch, n, top_k, renorm);
    c->k.router_softmax_topk(got.ids, got.weights, logits, got.scratch, n, top_k, renorm);
    for (size_t j = 0; j < top_k; j++)
        if (ref.ids[j] != got.ids[j])
            cr_assert_fail("router: n %zu, choice %zu of %zu: %u, scalar %u", n, j, top_k, got.ids[j],
                           ref.ids[j]);
    check_same_bits(ref.weights, got.weights, top_k, "router: n %zu, top %zu", n, top_k);
    if (c->scalar && tame) near_double(&got, logits, n, top_k, renorm);
    check_reset();
}

void check_router_softmax_topk(const struct check *c) {
    for (const size_t *n = check_sizes; *n && *n <= 1000; n++)
        for (int kind = 0; kind < CHECK_FILLS + 3; kind++) {
            float *logits = check_floats(*n);
            check_fill(logits, *n, kind < CHECK_FILLS ? (enum check_fill)kind : CHECK_UNIT);
            for (size_t i = 0; i < *n; i++) {
                if (kind == CHECK_UNIT) logits[i] *= 10;
                if (kind == CHECK_FILLS) logits[i] = (float)check_below(3); /* many ties */
                if (kind == CHECK_FILLS + 1 && check_below(3) == 0) logits[i] = -INFINITY;
                if (kind == CHECK_FILLS + 2) logits[i] = logits[i] > 0.5f ? 0 : -200; /* p underflows to 0 */
            }
            const size_t most = *n < 64 ? *n : 64, top_k = check_below(2) ? most : 1 + check_below(most);
            check_case(c, logits, *n, top_k, check_below(2), kind == CHECK_UNIT);
        }
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0};
    for (size_t n = 1; n < 40; n += 3)
        for (size_t o = 0; o < sizeof odd / sizeof *odd; o++) {
            float *logits = check_floats(n);
            for (size_t i = 0; i < n; i++) logits[i] = odd[o];
            check_case(c, logits, n, 1 + n / 2, true, false);
        }
}
