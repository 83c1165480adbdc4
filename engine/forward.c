/* A token's way: embed, then per layer norm, attention, add, norm, FFN, add; then the final norm and the
 * head. Adding a block's delta and the norm that the next block reads are one step, row by row. */
#include "engine/forward.h"

#include <string.h>

#include "engine/norm.h"
#include "engine/session.h"

/* normed = norm(x), for one row */
static void norm_row(const struct moe_session *s, size_t row, const struct moe_norm *norm) {
    const struct moe_spec *spec = &s->model->spec;
    moe_norm_apply(moe_activations_row(&s->normed, row), s->x + row * spec->hidden_size, norm, spec,
                   s->gemm.kernels);
    moe_activations_pack(&s->normed, row, s->gemm.kernels);
}

static void embed(struct moe_worker *worker, struct moe_session *s) {
    const struct moe_weights *w = &s->model->weights;
    size_t row;
    const struct moe_matrix one = moe_matrix_rows(&w->embed, 0, 1);
    if (worker->rank == 0) s->counters.weight_bytes += s->batch.n_rows * moe_matrix_bytes(&one);
    while (moe_worker_next(worker, s->batch.n_rows, &row)) {
        s->gemm.kernels->format[w->embed.format].widen(s->x + row * w->embed.cols, &w->embed,
                                                       s->batch.rows[row].token);
        norm_row(s, row, &w->layers[0].attention_norm);
        moe_attention_find_angles(worker, s, row);
    }
    moe_worker_barrier(worker);
}

/* x += delta + bias, then the norm that the next block reads */
static void add_and_norm(struct moe_worker *worker, struct moe_session *s, const float *bias,
                         const struct moe_norm *norm) {
    size_t hidden = s->model->spec.hidden_size, row;
    while (moe_worker_next(worker, s->batch.n_rows, &row)) {
        float *delta = s->delta + row * hidden;
        if (bias) s->gemm.kernels->add(delta, bias, hidden);
        s->gemm.kernels->add(s->x + row * hidden, delta, hidden);
        norm_row(s, row, norm);
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
    if (!w->bias) return;
    while (moe_worker_next(worker, s->batch.n_wanted, &i))
        s->gemm.kernels->add(logits + i * vocab, w->bias, vocab);
    moe_worker_barrier(worker);
}

void moe_forward(struct moe_worker *worker, void *context) {
    struct moe_session *s = context;
    const struct moe_weights *w = &s->model->weights;
    size_t hidden = s->model->spec.hidden_size, n_layers = s->model->spec.n_layers;
    embed(worker, s);
    for (size_t l = 0; l < n_layers; l++) {
        const struct moe_layer_weights *layer = &w->layers[l];
        moe_attention_run(worker, s, l);
        add_and_norm(worker, s, layer->o.bias, &layer->ffn_norm);
        moe_session_tap(worker, s, MOE_TAP_FFN_IN, l, s->normed.data[MOE_LAYOUT_NATURAL], s->normed.ld,
                        hidden);
        moe_experts_run(worker, s, l);
        moe_session_tap(worker, s, MOE_TAP_FFN_OUT, l, s->delta, hidden, hidden);
        add_and_norm(worker, s, NULL, l + 1 < n_layers ? &w->layers[l + 1].attention_norm : &w->final_norm);
        moe_session_tap(worker, s, MOE_TAP_HIDDEN, l, s->x, hidden, hidden);
    }
    head(worker, s);
}
