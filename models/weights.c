#include "models/weights.h"

#include <stdlib.h>

#include "models/binder.h"

static moe_status bind_norm(struct moe_binder *b, struct moe_norm *out, enum moe_tensor_role role) {
    MOE_TRY(moe_bind_vector(b, &out->gain, role, NULL, b->spec->hidden_size));
    if (b->spec->norm != MOE_NORM_LAYER) return MOE_OK;
    return moe_bind_vector(b, &out->bias, role, ".bias", b->spec->hidden_size);
}

static moe_status bind_step(struct moe_binder *b, const struct moe_step *step) {
    struct moe_layer_weights *w = &b->out->layers[step->layer];
    bool attention = step->op == MOE_OP_ATTENTION;
    b->layer = step->layer;
    if (step->norm_in && !step->reads_same)
        MOE_TRY(bind_norm(b, attention ? &w->attention_norm : &w->ffn_norm,
                          attention ? MOE_T_ATTENTION_NORM : MOE_T_FFN_NORM));
    switch (step->op) {
    case MOE_OP_ATTENTION:
        MOE_TRY(moe_bind_attention(b, w));
        break;
    case MOE_OP_EXPERTS:
        MOE_TRY(moe_bind_experts(b, w));
        break;
    case MOE_OP_DENSE:
        MOE_TRY(moe_bind_dense(b, w));
        break;
    }
    if (!step->norm_out) return MOE_OK;
    return bind_norm(b, attention ? &w->attention_out_norm : &w->ffn_out_norm,
                     attention ? MOE_T_ATTENTION_OUT_NORM : MOE_T_FFN_OUT_NORM);
}

/* PreTrainedModel.tie_weights: where a checkpoint has both matrices, and the configuration says that they are
 * one, the checkpoint is right; where it has one of them, it is both, whichever it is. */
static bool is_there(const struct moe_binder *b, enum moe_tensor_role role) {
    return !b->storage.source->makes_all && moe_binder_has(b, role);
}

static enum moe_tensor_role embedding_role(const struct moe_binder *b) {
    return b->spec->tied && is_there(b, MOE_T_HEAD) && !is_there(b, MOE_T_EMBED) ? MOE_T_HEAD : MOE_T_EMBED;
}

static bool has_own_head(const struct moe_binder *b) {
    return !b->spec->tied || (is_there(b, MOE_T_HEAD) && is_there(b, MOE_T_EMBED));
}

static moe_status bind_head(struct moe_binder *b, struct moe_weights *out) {
    const struct moe_spec *s = b->spec;
    if (has_own_head(b))
        return moe_bind_linear(b, &out->head, MOE_T_HEAD, s->vocab_size, s->hidden_size, s->bias_head);
    out->head.w = out->embed;
    return s->bias_head ? moe_bind_vector(b, &out->head.bias, MOE_T_HEAD, ".bias", s->vocab_size) : MOE_OK;
}

static moe_status bind_all(struct moe_binder *b) {
    const struct moe_spec *s = b->spec;
    struct moe_weights *out = b->out;
    out->layers = calloc(s->n_layers, sizeof *out->layers);
    out->n_layers = s->n_layers;
    b->scratch = calloc(s->router.n_choices, sizeof *b->scratch);
    if (!out->layers || !b->scratch) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(moe_bind_matrix(b, &out->embed, embedding_role(b), s->vocab_size, s->hidden_size));
    for (size_t i = 0; i < s->n_steps; i++) MOE_TRY(bind_step(b, &s->steps[i]));
    MOE_TRY(bind_norm(b, &out->final_norm, MOE_T_FINAL_NORM));
    return bind_head(b, out);
}

static moe_status run(struct moe_binder *b, struct moe_weights *out, const struct moe_spec *spec,
                      const struct moe_source *source) {
    *out = (struct moe_weights){0};
    b->out = out;
    b->spec = spec;
    b->storage = (struct moe_storage){.source = source, .quantization = &spec->quantization};
    /* close enough for a progress bar: the experts are nearly all of the tensors */
    b->total = spec->n_layers * (3 * spec->n_experts + 8);
    moe_status status = bind_all(b);
    free(b->scratch);
    for (size_t i = 0; i < MOE_LAYOUT_COUNT; i++) out->layouts[i] = b->storage.layouts[i];
    out->n_parameters = b->storage.totals.n_parameters;
    out->n_bytes = b->storage.totals.n_bytes;
    return status;
}

moe_status moe_weights_bind(struct moe_weights *out, const struct moe_spec *spec,
                            const struct moe_source *source, const struct moe_weights_progress *progress,
                            moe_error *err) {
    struct moe_binder b = {.progress = progress, .err = err};
    moe_status status = run(&b, out, spec, source);
    if (status == MOE_OK && progress && progress->call)
        progress->call(progress->context, "binding", b.done, b.done);
    if (status != MOE_OK) moe_weights_free(out);
    return status;
}

moe_status moe_weights_list(struct moe_weights *out, const struct moe_weights_list *list,
                            const struct moe_spec *spec, const struct moe_source *source, moe_error *err) {
    moe_error fault = {{0}}; /* a fault has a message even if the caller wants none */
    struct moe_binder b = {.list = list, .err = &fault};
    moe_status status = run(&b, out, spec, source);
    if (status != MOE_OK && err) *err = fault;
    return status;
}

bool moe_weights_share_head(const struct moe_weights *weights) {
    return weights->head.w.data == weights->embed.data;
}

/* Those that are there, one after the other. */
struct visitor {
    void (*visit)(void *context, struct moe_matrix *w);
    void *context;
    bool skips_gates; /* routers, and the gate of shared experts */
};

static void visit(const struct visitor *v, struct moe_matrix *w) {
    if (w->rows) v->visit(v->context, w);
}

static void visit_ffn(const struct visitor *v, struct moe_ffn *ffn) {
    visit(v, &ffn->gate.w);
    visit(v, &ffn->up.w);
    visit(v, &ffn->down.w);
}

static void visit_attention(const struct visitor *v, struct moe_layer_weights *w, size_t n_heads) {
    visit(v, &w->latent.q_a.w);
    visit(v, &w->q.w);
    visit(v, &w->k.w);
    visit(v, &w->v.w);
    visit(v, &w->gate);
    visit(v, &w->latent.kv_a.w);
    for (size_t h = 0; w->latent.absorb && h < n_heads; h++) visit(v, &w->latent.absorb[h]);
    for (size_t h = 0; w->latent.expand && h < n_heads; h++) visit(v, &w->latent.expand[h]);
    visit(v, &w->o.w);
}

static void visit_all(const struct visitor *v, struct moe_weights *weights, const struct moe_spec *spec) {
    visit(v, &weights->head.w);
    for (size_t l = 0; l < weights->n_layers; l++) {
        struct moe_layer_weights *w = &weights->layers[l];
        visit_attention(v, w, spec->n_heads);
        if (!v->skips_gates) visit(v, &w->router.w);
        for (size_t e = 0; w->experts && e < spec->n_experts; e++) visit_ffn(v, &w->experts[e]);
        visit_ffn(v, &w->shared);
        if (!v->skips_gates) visit(v, &w->shared_score);
        visit_ffn(v, &w->dense);
    }
}

void moe_weights_visit(struct moe_weights *weights, const struct moe_spec *spec,
                       void (*call)(void *context, struct moe_matrix *w), void *context) {
    visit_all(&(struct visitor){.visit = call, .context = context}, weights, spec);
}

static void round_activations(void *context, struct moe_matrix *w) {
    struct moe_weights *weights = context;
    w->format = moe_format_in_pairs(w->format);
    weights->layouts[moe_format_layout(w->format)] = true;
}

bool moe_weights_round_activations(struct moe_weights *weights, const struct moe_spec *spec) {
    const struct visitor v = {round_activations, weights, .skips_gates = true};
    visit_all(&v, weights, spec);
    return weights->layouts[MOE_LAYOUT_PAIRS];
}
