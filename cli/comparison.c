/* The reference's own tokens are fed whatever ours would have been (teacher forcing), so that every position
 * can be compared, those after a divergence too. Greedy decoding gives the same tokens as the reference
 * exactly if at every generating position the largest of our logits is at the reference's token. */

#include "cli/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ------------------------------------------------------------------------------------------ */

/* |a - b|; 0 where both are the same infinity or both NaN, infinite where only one is a number. */
static double distance(double a, double b) {
    if (a == b || (isnan(a) && isnan(b))) return 0;
    double d = fabs(a - b);
    return isnan(d) ? INFINITY : d;
}

static void compare_row(struct difference *d, const struct reference_tensor *t, size_t row,
                        const float *ours) {
    if (row >= t->n_rows) return;
    d->n_rows++;
    for (size_t i = 0; i < t->n; i++) {
        double x = distance((double)ours[i], (double)reference_value(t, row, i));
        if (x > d->largest) {
            d->largest = x;
            d->row = row;
        }
    }
}

/* Of the best two of n values: the place of the first best, and how far the second is below. UINT32_MAX and
 * NaN if one of them is not a number. */
static uint32_t best_of(double *margin, const struct reference_tensor *t, size_t row, const float *ours,
                        size_t n) {
    size_t best = 0;
    double first = -INFINITY, second = -INFINITY;
    *margin = NAN;
    for (size_t i = 0; i < n; i++) {
        double x = ours ? (double)ours[i] : (double)reference_value(t, row, i);
        if (isnan(x)) return UINT32_MAX;
        if (x > first) {
            second = first;
            first = x;
            best = i;
        } else if (x > second) {
            second = x;
        }
    }
    if (first == -INFINITY) return UINT32_MAX;
    *margin = first - second;
    return (uint32_t)best;
}

/* log(sum exp(x)); NaN if one of them is not a number or infinite, or all are -infinity. */
static double log_sum(const struct reference_tensor *t, size_t row, const float *ours, size_t n) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double x = ours ? (double)ours[i] : (double)reference_value(t, row, i);
        if (x > most) most = x;
    }
    for (size_t i = 0; i < n; i++) {
        double x = ours ? (double)ours[i] : (double)reference_value(t, row, i);
        sum += exp(x - most);
    }
    return most + log(sum);
}

/* sum p log(p / q), at least 0. */
static double divergence(const struct reference_tensor *t, size_t row, const float *ours) {
    const double z = log_sum(NULL, 0, ours, t->n), ref_z = log_sum(t, row, NULL, t->n);
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        const double log_p = (double)reference_value(t, row, i) - ref_z, log_q = (double)ours[i] - z;
        if (log_p != -INFINITY) sum += exp(log_p) * (log_p - log_q);
    }
    return isnan(sum) ? INFINITY : sum < 0 ? 0 : sum;
}

static void compare_distributions(struct distributions *d, const struct reference_tensor *t, size_t row,
                                  const float *ours) {
    if (row >= t->n_rows) return;
    double margin;
    const double kl = divergence(t, row, ours);
    const uint32_t top = best_of(&margin, NULL, 0, ours, t->n);
    d->n_top_equal += top != UINT32_MAX && top == best_of(&margin, t, row, NULL, t->n);
    if (kl == INFINITY) d->kl = kl;
    if (d->kl != INFINITY) d->kl += (kl - d->kl) / (double)(d->n_rows + 1);
    if (d->n_rows++ == 0 || kl > d->largest_kl) {
        d->largest_kl = kl;
        d->row = row;
    }
}

/* ---- experts ------------------------------------------------------------------------------------------ */

static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Router logit of rank k less that of rank k + 1. */
static double routing_margin(const struct comparison *c, size_t layer, size_t row, const float *ours) {
    const struct reference_tensor *t = &c->reference->layers[Q_ROUTER][layer];
    size_t n = c->model->n_choices, k = c->reference->layers[Q_EXPERTS][layer].n;
    bool has_theirs = t->data && row < t->n_rows;
    if (k >= n || (!has_theirs && !ours)) return NAN;
    float *sorted = need(n, sizeof *sorted);
    for (size_t i = 0; i < n; i++) sorted[i] = has_theirs ? reference_value(t, row, i) : ours[i];
    qsort(sorted, n, sizeof *sorted, descending);
    double margin = (double)sorted[k - 1] - (double)sorted[k];
    free(sorted);
    return margin;
}

/* As sets: each of ours is among theirs, and as often. */
static bool is_same_set(const struct reference_tensor *t, size_t row, const uint32_t *ours) {
    for (size_t i = 0; i < t->n; i++) {
        size_t n_ours = 0, n_theirs = 0;
        for (size_t j = 0; j < t->n; j++) {
            n_ours += ours[j] == ours[i];
            n_theirs += reference_id(t, row, j) == (int64_t)ours[i];
        }
        if (n_ours != n_theirs) return false;
    }
    return true;
}

static void compare_experts(struct comparison *c, const moe_tap *tap) {
    const struct reference_tensor *t = &c->reference->layers[Q_EXPERTS][tap->layer];
    struct difference *d = &c->layers[Q_EXPERTS][tap->layer];
    for (size_t i = 0; i < tap->n_rows && c->rows_done + i < t->n_rows; i++) {
        size_t row = c->rows_done + i;
        d->n_rows++;
        if (is_same_set(t, row, tap->ids + i * tap->n)) continue;
        if (d->n_differing++ == 0) {
            d->first_row = row;
            d->margin = routing_margin(c, tap->layer, row, c->router + i * c->model->n_choices);
        }
    }
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static void on_tap(void *context, const moe_tap *tap) {
    struct comparison *c = context;
    static const enum quantity of_kind[] = {[MOE_TAP_HIDDEN] = Q_HIDDEN,
                                            [MOE_TAP_EXPERTS] = Q_EXPERTS,
                                            [MOE_TAP_ROUTER] = Q_ROUTER,
                                            [MOE_TAP_FFN_IN] = Q_FFN_IN,
                                            [MOE_TAP_FFN_OUT] = Q_FFN_OUT};
    enum quantity q = of_kind[tap->kind];
    if (q == Q_ROUTER) memcpy(c->router, tap->values, tap->n_rows * tap->n * sizeof *tap->values);
    const struct reference_tensor *t = &c->reference->layers[q][tap->layer];
    if (!t->data) return;
    if (q == Q_EXPERTS) compare_experts(c, tap);
    for (size_t i = 0; q != Q_EXPERTS && i < tap->n_rows; i++)
        compare_row(&c->layers[q][tap->layer], t, c->rows_done + i, tap->values + i * tap->n);
}

/* The token that greedy decoding chooses after position `row`, against the reference's. */
static void compare_token(struct comparison *c, size_t row, const float *logits) {
    const struct reference *r = c->reference;
    bool is_last_of_prompt = r->n_generated == 0 && row + 1 == r->n_prompt;
    bool generates = row + 1 >= r->n_prompt && row + 1 < r->n_prompt + r->n_generated;
    if (!is_last_of_prompt && !generates) return;
    size_t token = row + 1 - r->n_prompt;
    double our_margin, ref_margin = NAN;
    uint32_t ours = best_of(&our_margin, NULL, 0, logits, c->model->vocab_size), theirs = UINT32_MAX;
    if (row < r->logits.n_rows) theirs = best_of(&ref_margin, &r->logits, row, NULL, r->logits.n);
    if (generates) theirs = r->ids[row + 1]; /* what it said, not what its logits say */
    if (ref_margin < c->smallest_margin || isnan(c->smallest_margin)) {
        c->smallest_margin = ref_margin;
        c->smallest_margin_token = token;
    }
    c->n_tokens++;
    if (ours == theirs && ours != UINT32_MAX) {
        c->n_equal++;
    } else if (c->n_equal + 1 == c->n_tokens) { /* the first that is not equal */
        c->first_token = token;
        c->ours = ours;
        c->theirs = theirs;
        c->our_margin = our_margin;
        c->ref_margin = ref_margin;
    }
}

/* All that generating took, and one position more if the dump goes on to it. */
static size_t count_rows(const struct comparison *c) {
    const struct reference *r = c->reference;
    size_t all = r->n_prompt + r->n_generated, fed = r->n_generated ? all - 1 : all;
    for (int q = 0; q <= Q_LOGITS; q++)
        for (size_t l = 0; l < (q == Q_LOGITS ? 1 : r->n_layers); l++)
            if (reference_get(r, (enum quantity)q, l)->n_rows > fed) return all;
    return fed;
}

/* The prompt, then the rest: with dynamic RoPE positions depend on how long the prompt was, so that both are
 * fed as generating feeds them, the rest one by one. */
static void compare_all(struct comparison *c, moe_session *session, moe_row *rows, size_t batch) {
    moe_error err = {{0}};
    size_t n_prompt = c->reference->n_prompt;
    moe_session_expect(session, 0, n_prompt);
    while (c->rows_done < c->n_rows) {
        size_t left = c->rows_done < n_prompt ? n_prompt - c->rows_done : 1, n = left < batch ? left : batch;
        for (size_t i = 0; i < n; i++)
            rows[i] = (moe_row){.position = (uint32_t)(c->rows_done + i),
                                .token = c->reference->ids[c->rows_done + i],
                                .logits = true};
        if (moe_session_eval(session, rows, n, &err) != MOE_OK) die(STATUS_FAILED, "%s", err.message);
        for (size_t i = 0; i < n; i++) {
            const float *logits = moe_session_logits(session, i);
            const struct reference_tensor *theirs = &c->reference->logits;
            if (theirs->data) compare_row(&c->logits, theirs, c->rows_done + i, logits);
            if (theirs->data) compare_distributions(&c->distributions, theirs, c->rows_done + i, logits);
            compare_token(c, c->rows_done + i, logits);
        }
        c->rows_done += n;
    }
    if (c->n_equal == c->n_tokens) c->first_token = c->n_tokens;
}

void comparison_run(struct comparison *c, const moe_model *model, const struct reference *reference,
                    size_t batch, size_t *n_threads) {
    *c = (struct comparison){
        .reference = reference, .model = moe_model_get_info(model), .smallest_margin = NAN};
    c->n_rows = count_rows(c);
    for (int q = 0; q < Q_LOGITS; q++) c->layers[q] = need(reference->n_layers, sizeof *c->layers[q]);
    if (batch > c->n_rows) batch = c->n_rows;
    c->router = need(batch, c->model->n_choices * sizeof *c->router);
    moe_row *rows = need(batch, sizeof *rows);
    moe_session *session;
    moe_error err = {{0}};
    moe_session_options options = {.n_sequences = 1,
                                   .context = c->n_rows,
                                   .max_rows = batch, /* an eval is one pass: a tap's rows are the eval's */
                                   .max_logits = batch,
                                   .n_threads = *n_threads,
                                   .tap = on_tap,
                                   .tap_context = c};
    if (moe_session_open(&session, model, &options, &err) != MOE_OK) die(STATUS_FAILED, "%s", err.message);
    *n_threads = moe_session_threads(session);
    compare_all(c, session, rows, batch);
    moe_session_close(session);
    free(rows);
}

void comparison_free(struct comparison *c) {
    for (int q = 0; q < Q_LOGITS; q++) free(c->layers[q]);
    free(c->router);
    *c = (struct comparison){0};
}

const struct difference *comparison_get(const struct comparison *c, enum quantity q, size_t layer) {
    return q == Q_LOGITS ? &c->logits : &c->layers[q][layer];
}

bool comparison_begins(const struct comparison *c, double tolerance, size_t *layer, enum quantity *q) {
    /* in the order in which a layer computes them */
    static const enum quantity order[] = {Q_FFN_IN, Q_ROUTER, Q_EXPERTS, Q_FFN_OUT, Q_HIDDEN};
    for (*layer = 0; *layer < c->reference->n_layers; (*layer)++)
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
            *q = order[i];
            const struct difference *d = comparison_get(c, *q, *layer);
            double limit = tolerance * reference_get(c->reference, *q, *layer)->deviation;
            if (d->n_differing > 0 || (*q != Q_EXPERTS && d->n_rows > 0 && d->largest > limit)) return true;
        }
    return false;
}
