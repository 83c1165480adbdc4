#ifndef MOE_CLI_COMPARISON_H
#define MOE_CLI_COMPARISON_H
/* This engine's run beside a reference's, position by position. */

#include "cli/reference.h"

/* How far one quantity of one layer is off. */
struct difference {
    size_t n_rows;  /* compared */
    double largest; /* absolute; infinite where one side is not a number */
    size_t row;     /* where that is */
    /* Q_EXPERTS only: rows whose sets of experts differ, the first of them, and how close the choice was
     * there: router logit of rank k less that of rank k + 1, the reference's if it has them; NaN if nobody
     * knows */
    size_t n_differing, first_row;
    double margin;
};

/* What the logits predict, softmax(reference) against softmax(ours). */
struct distributions {
    size_t n_rows;      /* compared */
    size_t n_top_equal; /* whose most likely token is the same */
    double kl; /* mean over rows of sum p log(p / q), p the reference's, in nats; infinite where a side
                  is not a number, or q is 0 and p is not */
    double largest_kl;
    size_t row; /* where that is */
};

struct comparison {
    const struct reference *reference;
    const moe_model_info *model;
    size_t n_rows; /* positions fed */
    struct difference logits;
    struct distributions distributions;
    struct difference *layers[Q_LOGITS]; /* [n_layers] each */

    /* greedy tokens against the reference's */
    size_t n_tokens, n_equal;
    size_t first_token;            /* that differs; n_tokens: none */
    uint32_t ours, theirs;         /* there; ours is UINT32_MAX if our logits are not numbers */
    double our_margin, ref_margin; /* there: best logit less the second; NaN if unknown */
    double smallest_margin;        /* of the reference, over all tokens; NaN if unknown */
    size_t smallest_margin_token;

    /* while it runs */
    size_t rows_done;
    float *router; /* [n_rows of a pass, n_experts] of the layer that is under way */
};

/* Feeds the reference's ids, `batch` positions at a time, and compares all that both sides have. Ends the
 * program on failure. *n_threads: how many were used. */
void comparison_run(struct comparison *c, const moe_model *model, const struct reference *reference,
                    size_t batch, size_t *n_threads);
void comparison_free(struct comparison *c);

const struct difference *comparison_get(const struct comparison *c, enum quantity q, size_t layer);
/* The first layer that is off by more than `tolerance` standard deviations, or routes differently: which
 * quantity. False if there is none. */
bool comparison_begins(const struct comparison *c, double tolerance, size_t *layer, enum quantity *q);

#endif
