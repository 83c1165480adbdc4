/* The MoE FFN: route, sort the (row, expert) pairs by expert, grouped gate and up products of the rows
 * gathered for each expert, activation, grouped down product, combine. A row's terms are added in ascending
 * expert id, as the eager experts of transformers do, so that no thread and no batch mate changes a sum. */
#include "engine/experts.h"

#include <string.h>

#include "engine/norm.h"
#include "engine/session.h"

static void take_ffn_rows(struct moe_ffn_rows *out, struct moe_arena *arena, size_t n, size_t width,
                          const bool layouts[MOE_LAYOUT_COUNT]) {
    out->gate = moe_arena_take(arena, n, width * sizeof(float));
    out->up = moe_arena_take(arena, n, width * sizeof(float));
    moe_activations_take(&out->hidden, arena, n, width, layouts);
}

void moe_experts_take(struct moe_experts *out, struct moe_arena *arena, const struct moe_spec *spec,
                      const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows, size_t n_workers) {
    size_t n_pairs = max_rows * spec->top_k, hidden = spec->hidden_size;
    moe_router_take(&out->router, arena, spec, max_rows, n_workers);
    moe_dispatch_take(&out->dispatch, arena, max_rows, spec->router.n_choices, spec->top_k);
    take_ffn_rows(&out->routed, arena, n_pairs, spec->expert_width, layouts);
    out->routed_out = moe_arena_take(arena, n_pairs, hidden * sizeof(float));
    if (spec->dense_width) take_ffn_rows(&out->dense, arena, max_rows, spec->dense_width, layouts);
    if (spec->shared_width) {
        take_ffn_rows(&out->shared, arena, max_rows, spec->shared_width, layouts);
        out->shared_out = moe_arena_take(arena, max_rows, hidden * sizeof(float));
        out->shared_score = moe_arena_take(arena, max_rows, sizeof(float));
    }
    out->problems = moe_arena_take(arena, 2 * spec->n_experts + 2, sizeof *out->problems);
}

/* The biases of one FFN's products, the activation, and the layouts that the down product reads. */
static void activate_row(const struct moe_session *s, const struct moe_ffn_rows *f, const struct moe_ffn *w,
                         size_t r) {
    const struct moe_spec *spec = &s->model->spec;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t width = f->hidden.n_columns;
    float *gate = f->gate + r * width, *up = f->up + r * width, *hidden = moe_activations_row(&f->hidden, r);
    if (w->gate.bias) k->add(gate, w->gate.bias, width);
    if (w->up.bias) k->add(up, w->up.bias, width);
    switch (spec->family->activation) {
    case MOE_ACT_SWIGLU:
        k->swiglu(hidden, gate, up, width);
        break;
    case MOE_ACT_SWIGLU_CLAMPED:
        k->swiglu_clamped(hidden, gate, up, width, spec->swiglu_alpha, spec->swiglu_limit);
        break;
    }
    moe_activations_pack(&f->hidden, r, k);
}

/* The two products that read a FFN's input rows. */
static void add_inputs(struct moe_experts *m, const struct moe_activations *x, const struct moe_ffn *w,
                       const struct moe_ffn_rows *f, size_t first, size_t n, const uint32_t *index) {
    size_t width = f->hidden.n_columns;
    struct moe_problem p = {
        .x = x, .n_rows = n, .index = index, .w = &w->gate.w, .y = f->gate + first * width, .ld_y = width};
    m->problems[m->n_problems++] = p;
    p.w = &w->up.w;
    p.y = f->up + first * width;
    m->problems[m->n_problems++] = p;
}

static void add_output(struct moe_experts *m, const struct moe_ffn_rows *f, const struct moe_ffn *w,
                       size_t first, size_t n, float *y) {
    m->problems[m->n_problems++] = (struct moe_problem){
        .x = &f->hidden, .first_row = first, .n_rows = n, .w = &w->down.w, .y = y, .ld_y = w->down.w.rows};
}

void moe_dense_run(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_ffn *w = &s->model->weights.layers[layer].dense;
    struct moe_experts *m = &s->experts;
    size_t n_rows = s->batch.n_rows, i;
    size_t width = m->dense.hidden.n_columns;
    const struct moe_problem inputs[] = {
        {.x = &s->normed, .n_rows = n_rows, .w = &w->gate.w, .y = m->dense.gate, .ld_y = width},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->up.w, .y = m->dense.up, .ld_y = width},
    };
    moe_gemm_run(worker, &s->gemm, inputs, 2);
    moe_worker_barrier(worker);
    while (moe_worker_next(worker, n_rows, &i)) activate_row(s, &m->dense, w, i);
    moe_worker_barrier(worker);
    const struct moe_problem output = {
        .x = &m->dense.hidden, .n_rows = n_rows, .w = &w->down.w, .y = s->delta, .ld_y = w->down.w.rows};
    moe_gemm_run(worker, &s->gemm, &output, 1);
    moe_worker_barrier(worker);
    if (!w->down.bias) return;
    while (moe_worker_next(worker, n_rows, &i))
        s->gemm.kernels->add(s->delta + i * w->down.w.rows, w->down.bias, w->down.w.rows);
    moe_worker_barrier(worker);
}

/* Router logits, and the score of the shared expert; then each row's experts. */
static void route(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    const struct moe_spec *spec = &s->model->spec;
    struct moe_experts *m = &s->experts;
    size_t n_rows = s->batch.n_rows, i;
    const struct moe_problem scores[] = {
        {.x = &s->normed,
         .n_rows = n_rows,
         .w = &w->router.w,
         .y = m->router.logits,
         .ld_y = spec->router.n_choices},
        {.x = &s->normed, .n_rows = n_rows, .w = &w->shared_score, .y = m->shared_score, .ld_y = 1},
    };
    moe_gemm_run(worker, &s->gemm, scores, spec->family->shared == MOE_SHARED_SIGMOID ? 2 : 1);
    moe_worker_barrier(worker);
    while (moe_worker_next(worker, n_rows, &i))
        moe_router_choose(&m->router, spec, layer, w, s->gemm.kernels, i, worker->rank);
    moe_worker_barrier(worker);
}

/* The products of the experts that have rows, and of the shared one: by worker 0. */
static void list_inputs(struct moe_session *s, const struct moe_layer_weights *w) {
    struct moe_experts *m = &s->experts;
    const struct moe_dispatch *d = &m->dispatch;
    m->n_problems = 0;
    for (size_t e = 0; e < s->model->spec.n_experts; e++) {
        size_t first = d->first[e], n = d->first[e + 1] - first;
        if (n) add_inputs(m, &s->normed, &w->experts[e], &m->routed, first, n, d->row + first);
    }
    if (s->model->spec.shared_width)
        add_inputs(m, &s->normed, &w->shared, &m->shared, 0, s->batch.n_rows, NULL);
}

static void list_outputs(struct moe_session *s, const struct moe_layer_weights *w) {
    struct moe_experts *m = &s->experts;
    const struct moe_dispatch *d = &m->dispatch;
    size_t hidden = s->model->spec.hidden_size;
    m->n_problems = 0;
    for (size_t e = 0; e < s->model->spec.n_experts; e++) {
        size_t first = d->first[e], n = d->first[e + 1] - first;
        if (n) add_output(m, &m->routed, &w->experts[e], first, n, m->routed_out + first * hidden);
    }
    if (s->model->spec.shared_width) add_output(m, &m->shared, &w->shared, 0, s->batch.n_rows, m->shared_out);
}

/* delta += weight * (what the expert of pair p gives + bias); an identity gives what it read. */
static void add_routed(const struct moe_session *s, const struct moe_layer_weights *w, size_t row, size_t p) {
    const struct moe_experts *m = &s->experts;
    const struct moe_kernels *k = s->gemm.kernels;
    const struct moe_spec *spec = &s->model->spec;
    size_t hidden = spec->hidden_size, expert = m->dispatch.expert[p];
    float *delta = s->delta + row * hidden, *out = m->routed_out + p * hidden;
    if (expert >= spec->n_experts) {
        k->axpy(delta, moe_activations_row(&s->normed, row), hidden, m->dispatch.weight[p]);
        return;
    }
    const float *bias = w->experts[expert].down.bias;
    if (bias) k->add(out, bias, hidden);
    k->axpy(delta, out, hidden, spec->family->router.weighs_input ? 1 : m->dispatch.weight[p]);
}

/* delta += the shared expert's output, as the family combines it */
static void add_shared(const struct moe_session *s, const struct moe_layer_weights *w, size_t row) {
    const struct moe_experts *m = &s->experts;
    const struct moe_kernels *k = s->gemm.kernels;
    size_t hidden = s->model->spec.hidden_size;
    float *delta = s->delta + row * hidden, *shared = m->shared_out + row * hidden;
    if (w->shared.down.bias) k->add(shared, w->shared.down.bias, hidden);
    switch (s->model->spec.family->shared) {
    case MOE_SHARED_NONE:
        break;
    case MOE_SHARED_PLAIN:
        k->add(delta, shared, hidden);
        break;
    case MOE_SHARED_SIGMOID:
        k->sigmoid(m->shared_score + row, m->shared_score + row, 1);
        k->axpy(delta, shared, hidden, m->shared_score[row]);
        break;
    case MOE_SHARED_AVERAGE:
        k->add(delta, shared, hidden);
        k->scale(delta, delta, hidden, s->model->spec.shared_scale);
        break;
    }
}

/* delta = sum over the row's experts, in ascending order, and the shared one */
static void combine_row(const struct moe_session *s, const struct moe_layer_weights *w, size_t row) {
    const struct moe_dispatch *d = &s->experts.dispatch;
    const struct moe_spec *spec = &s->model->spec;
    float *delta = s->delta + row * spec->hidden_size;
    memset(delta, 0, spec->hidden_size * sizeof *delta);
    for (size_t j = 0; j < d->top_k; j++) add_routed(s, w, row, d->pair[row * d->top_k + j]);
    if (spec->shared_width) add_shared(s, w, row);
    if (w->experts_norm.gain) moe_norm_apply(delta, delta, &w->experts_norm, spec, s->gemm.kernels);
}

/* What goes on between the two products of pair p: nothing, if it is of an identity. */
static void activate_pair(const struct moe_session *s, const struct moe_layer_weights *w, size_t p) {
    const struct moe_experts *m = &s->experts;
    const struct moe_spec *spec = &s->model->spec;
    size_t expert = m->dispatch.expert[p], width = spec->expert_width;
    if (expert >= spec->n_experts) return;
    if (spec->family->router.weighs_input) { /* without biases the products of the weighed input are these */
        float *gate = m->routed.gate + p * width, *up = m->routed.up + p * width;
        s->gemm.kernels->scale(gate, gate, width, m->dispatch.weight[p]);
        s->gemm.kernels->scale(up, up, width, m->dispatch.weight[p]);
    }
    activate_row(s, &m->routed, &w->experts[expert], p);
}

void moe_experts_run(struct moe_worker *worker, struct moe_session *s, size_t layer) {
    const struct moe_layer_weights *w = &s->model->weights.layers[layer];
    struct moe_experts *m = &s->experts;
    size_t top_k = s->model->spec.layers[layer].top_k, n_rows = s->batch.n_rows, n_pairs = n_rows * top_k, i;
    size_t n_shared = s->model->spec.shared_width ? n_rows : 0;
    route(worker, s, layer);
    moe_session_tap(worker, s, MOE_TAP_ROUTER, layer, m->router.logits, m->dispatch.n_experts,
                    m->dispatch.n_experts);
    moe_session_tap_ids(worker, s, MOE_TAP_EXPERTS, layer, m->router.ids, top_k);
    if (worker->rank == 0) {
        moe_dispatch_sort(&m->dispatch, m->router.ids, m->router.weights, n_rows, top_k);
        list_inputs(s, w);
    }
    moe_worker_barrier(worker);
    moe_gemm_run(worker, &s->gemm, m->problems, m->n_problems);
    moe_worker_barrier(worker);
    if (worker->rank == 0) list_outputs(s, w);
    while (moe_worker_next(worker, n_pairs + n_shared, &i)) {
        if (i < n_pairs)
            activate_pair(s, w, i);
        else
            activate_row(s, &m->shared, &w->shared, i - n_pairs);
    }
    moe_worker_barrier(worker);
    moe_gemm_run(worker, &s->gemm, m->problems, m->n_problems);
    moe_worker_barrier(worker);
    while (moe_worker_next(worker, n_rows, &i)) combine_row(s, w, i);
    moe_worker_barrier(worker);
}
