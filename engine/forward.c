/* A token's way: embed, then step after step of the plan (models/spec_steps.c), then the final norm and the
 * head. Adding what a step gives and the norm that the next one reads are one phase, row by row. */
#include "engine/forward.h"

#include <string.h>

#include "engine/norm.h"
#include "engine/session.h"

static const struct moe_norm *norm_before(const struct moe_session *s, const struct moe_step *step) {
    const struct moe_layer_weights *w = &s->model->weights.layers[step->layer];
    return step->op == MOE_OP_ATTENTION ? &w->attention_norm : &w->ffn_norm;
}

static const struct moe_norm *norm_after(const struct moe_session *s, const struct moe_step *step) {
    const struct moe_layer_weights *w = &s->model->weights.layers[step->layer];
    return step->op == MOE_OP_ATTENTION ? &w->attention_out_norm : &w->ffn_out_norm;
}

/* What the step `next` reads of one row, NULL: what the head does. */
static void prepare_row(const struct moe_session *s, size_t row, const struct moe_step *next) {
    const struct moe_spec *spec = &s->model->spec;
    const float *x = s->x + row * spec->hidden_size;
    float *out = moe_activations_row(&s->normed, row);
    if (next && next->reads_same) return;
    if (!next)
        moe_norm_apply(out, x, &s->model->weights.final_norm, spec, s->gemm.kernels);
    else if (next->norm_in)
        moe_norm_apply(out, x, norm_before(s, next), spec, s->gemm.kernels);
    else
        memcpy(out, x, spec->hidden_size * sizeof *x);
    moe_activations_pack(&s->normed, row, s->gemm.kernels);
}

static void embed(struct moe_worker *worker, struct moe_session *s) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_weights *w = &s->model->weights;
    size_t row;
    const struct moe_matrix one = moe_matrix_rows(&w->embed, 0, 1);
    if (worker->rank == 0) s->counters.weight_bytes += s->batch.n_rows * moe_matrix_bytes(&one);
    while (moe_worker_next(worker, s->batch.n_rows, &row)) {
        float *x = s->x + row * w->embed.cols;
        s->gemm.kernels->format[w->embed.format].widen(x, &w->embed, s->batch.rows[row].token);
        if (spec->embed_scale != 1) s->gemm.kernels->scale(x, x, w->embed.cols, spec->embed_scale);
        prepare_row(s, row, &spec->steps[0]);
        moe_attention_find_angles(worker, s, row);
    }
    moe_worker_barrier(worker);
}

static const float *bias_of(const struct moe_session *s, const struct moe_step *step) {
    return step->op == MOE_OP_ATTENTION ? s->model->weights.layers[step->layer].o.bias : NULL;
}

/* delta of a step, normed where its block does, onto x or what is kept for a later step */
static void add_row(const struct moe_session *s, size_t row, const struct moe_step *step) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t hidden = spec->hidden_size;
    float *x = s->x + row * hidden, *delta = s->delta + row * hidden;
    const float *bias = bias_of(s, step);
    if (bias) k->add(delta, bias, hidden);
    if (step->norm_out) moe_norm_apply(delta, delta, norm_after(s, step), spec, k);
    if (spec->residual_scale != 1) k->scale(delta, delta, hidden, spec->residual_scale);
    if (step->is_kept) {
        memcpy(s->kept + row * hidden, delta, hidden * sizeof *delta);
        return;
    }
    if (step->adds_kept) k->add(x, s->kept + row * hidden, hidden);
    k->add(x, delta, hidden);
}

static void finish_step(struct moe_worker *worker, struct moe_session *s, const struct moe_step *step,
                        const struct moe_step *next) {
    size_t row;
    while (moe_worker_next(worker, s->batch.n_rows, &row)) {
        add_row(s, row, step);
        prepare_row(s, row, next);
    }
    moe_worker_barrier(worker);
}

static void head(struct moe_worker *worker, struct moe_session *s) {
    const struct moe_linear *w = &s->model->weights.head;
    size_t vocab = s->model->spec.vocab_size, i;
    float *logits = s->logits + s->n_logits * vocab;
    const struct moe_problem p = {.x = &s->normed,
                                  .n_rows = s->batch.n_wanted,
                                  .index = s->batch.wanted,
                                  .w = &w->w,
                                  .y = logits,
                                  .ld_y = vocab};
    moe_gemm_run(worker, &s->gemm, &p, 1);
    moe_worker_barrier(worker);
    float scale = s->model->spec.logits_scale;
    if (!w->bias && scale == 1) return;
    while (moe_worker_next(worker, s->batch.n_wanted, &i)) {
        float *row = logits + i * vocab;
        if (w->bias) s->gemm.kernels->add(row, w->bias, vocab);
        if (scale != 1) s->gemm.kernels->scale(row, row, vocab, scale);
    }
    moe_worker_barrier(worker);
}

/* `normed` to `delta`, without the bias of o. */
static void run_step(struct moe_worker *worker, struct moe_session *s, const struct moe_step *step) {
    size_t hidden = s->model->spec.hidden_size;
    if (step->op == MOE_OP_ATTENTION) {
        moe_attention_run(worker, s, step->layer);
        return;
    }
    if (step->is_tapped)
        moe_session_tap(worker, s, MOE_TAP_FFN_IN, step->layer, s->normed.data[MOE_LAYOUT_NATURAL],
                        s->normed.ld, hidden);
    if (step->op == MOE_OP_EXPERTS)
        moe_experts_run(worker, s, step->layer);
    else
        moe_dense_run(worker, s, step->layer);
    if (step->is_tapped) moe_session_tap(worker, s, MOE_TAP_FFN_OUT, step->layer, s->delta, hidden, hidden);
}

void moe_forward(struct moe_worker *worker, void *context) {
    struct moe_session *s = context;
    const struct moe_spec *spec = &s->model->spec;
    embed(worker, s);
    for (size_t i = 0; i < spec->n_steps; i++) {
        const struct moe_step *step = &spec->steps[i];
        run_step(worker, s, step);
        finish_step(worker, s, step, i + 1 < spec->n_steps ? step + 1 : NULL);
        if (step->ends_layer)
            moe_session_tap(worker, s, MOE_TAP_HIDDEN, step->layer, s->x, spec->hidden_size,
                            spec->hidden_size);
    }
    head(worker, s);
}
