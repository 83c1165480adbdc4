/* Routed, shared and dense FFNs. The experts of a layer lie in a checkpoint in one of several ways
 * (tensors.def): one tensor each, fused, stacked, or by rows (enum moe_fused). */
#include <string.h>

#include "models/binder.h"

static moe_status bind_ffn(struct moe_binder *b, struct moe_ffn *out, enum moe_tensor_role gate,
                           enum moe_tensor_role up, enum moe_tensor_role down, size_t width, bool bias) {
    size_t hidden = b->spec->hidden_size;
    MOE_TRY(moe_bind_linear(b, &out->gate, gate, width, hidden, bias));
    MOE_TRY(moe_bind_linear(b, &out->up, up, width, hidden, bias));
    return moe_bind_linear(b, &out->down, down, hidden, width, bias);
}

/* Every second row of w, from the first or the second on. */
static struct moe_matrix alternate_rows(const struct moe_matrix *w, size_t first) {
    struct moe_matrix out = moe_matrix_rows(w, first, w->rows / 2);
    out.row_bytes *= 2;
    out.scales.row_bytes *= 2;
    return out;
}

/* Biases of all experts [n_experts, width]; *out is owned. */
static moe_status bind_biases(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                              const char *suffix, size_t width) {
    const size_t shape[] = {b->spec->n_experts, width};
    return moe_bind_array(b, out, role, suffix, shape, 2);
}

/* gate, up: what gate_up [2 * width] of each expert holds of them, apart and in order. */
static moe_status split_biases(struct moe_binder *b, struct moe_ffn *experts, bool interleaved) {
    size_t width = b->spec->expert_width, n = b->spec->n_experts;
    const float *both, *down;
    void *apart;
    MOE_TRY(bind_biases(b, &both, MOE_T_FUSED_GATE_UP_BIAS, NULL, 2 * width));
    MOE_TRY(bind_biases(b, &down, MOE_T_FUSED_DOWN_BIAS, NULL, b->spec->hidden_size));
    MOE_TRY(moe_binder_own(b, &apart, 2 * n * width * sizeof(float)));
    if (b->list) return MOE_OK;
    float *to = apart;
    for (size_t e = 0; e < n; e++, to += 2 * width) {
        for (size_t i = 0; i < width; i++) {
            to[i] = both[2 * e * width + (interleaved ? 2 * i : i)];
            to[width + i] = both[2 * e * width + (interleaved ? 2 * i + 1 : width + i)];
        }
        experts[e].gate.bias = to;
        experts[e].up.bias = to + width;
        experts[e].down.bias = down + e * b->spec->hidden_size;
    }
    return MOE_OK;
}

/* One matrix per expert from the tensor of a fused role, which has n; `transposed`: it holds [cols, rows]. */
static moe_status bind_fused(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role,
                             size_t n, size_t rows, size_t cols, bool transposed) {
    if (!transposed) return moe_bind_stack(b, out, role, n, rows, cols);
    MOE_TRY(moe_bind_stack(b, out, role, n, cols, rows));
    for (size_t e = 0; e < n; e++) {
        const struct moe_matrix w = out[e];
        MOE_TRY(moe_bind_transposed(b, &out[e], &w));
    }
    return MOE_OK;
}

static moe_status bind_fused_experts(struct moe_binder *b, struct moe_ffn *experts) {
    const struct moe_spec *s = b->spec;
    struct moe_matrix *scratch = b->scratch;
    size_t hidden = s->hidden_size, width = s->expert_width;
    bool interleaved = s->family->fused == MOE_FUSED_INTERLEAVED;
    bool input_major = interleaved || s->family->fused == MOE_FUSED_COLUMNS;
    char name[MOE_MAX_TENSOR_NAME];
    moe_binder_name(name, b, MOE_T_FUSED_GATE_UP, NULL);
    enum moe_storage_form form = moe_storage_find(&b->storage, name);
    if (interleaved && form == MOE_STORAGE_FP8) /* a block's rows would be of both */
        return moe_binder_fault(
            b, MOE_FAIL(b->err, MOE_E_UNSUPPORTED,
                        "%s: FP8 is not supported for tensor %s, whose rows of gate and up alternate",
                        s->quantization.file, name));
    /* quantised blocks are out-major in every family; packing leaves a matrix as it lay */
    bool transposed = input_major && (form == MOE_STORAGE_PLAIN || form == MOE_STORAGE_PACKED);
    /* transformers keeps rows of gate and up for identities too (LongcatFlashExperts); nothing reads them */
    MOE_TRY(bind_fused(b, scratch, MOE_T_FUSED_GATE_UP, s->router.n_choices, 2 * width, hidden, transposed));
    for (size_t e = 0; e < s->n_experts; e++) {
        const struct moe_matrix *w = &scratch[e];
        experts[e].gate.w = interleaved ? alternate_rows(w, 0) : moe_matrix_rows(w, 0, width);
        experts[e].up.w = interleaved ? alternate_rows(w, 1) : moe_matrix_rows(w, width, width);
    }
    MOE_TRY(bind_fused(b, scratch, MOE_T_FUSED_DOWN, s->n_experts, hidden, width, transposed));
    for (size_t e = 0; e < s->n_experts; e++) experts[e].down.w = scratch[e];
    return s->bias_experts ? split_biases(b, experts, interleaved) : MOE_OK;
}

static moe_status bind_stacked_experts(struct moe_binder *b, struct moe_ffn *experts) {
    const struct moe_spec *s = b->spec;
    struct moe_matrix *scratch = b->scratch;
    size_t hidden = s->hidden_size, width = s->expert_width;
    const struct {
        enum moe_tensor_role role;
        size_t rows, cols, at; /* at: of the linear in struct moe_ffn */
    } parts[] = {{MOE_T_STACKED_GATE, width, hidden, offsetof(struct moe_ffn, gate)},
                 {MOE_T_STACKED_UP, width, hidden, offsetof(struct moe_ffn, up)},
                 {MOE_T_STACKED_DOWN, hidden, width, offsetof(struct moe_ffn, down)}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const float *bias = NULL;
        MOE_TRY(moe_bind_stack(b, scratch, parts[i].role, s->n_experts, parts[i].rows, parts[i].cols));
        if (s->bias_experts) MOE_TRY(bind_biases(b, &bias, parts[i].role, ".bias", parts[i].rows));
        for (size_t e = 0; e < s->n_experts; e++) {
            struct moe_linear linear = {scratch[e], bias ? bias + e * parts[i].rows : NULL};
            memcpy((char *)&experts[e] + parts[i].at, &linear, sizeof linear);
        }
    }
    return MOE_OK;
}

/* Three matrices with the rows of all experts. */
static moe_status bind_expert_rows(struct moe_binder *b, struct moe_ffn *experts) {
    const struct moe_spec *s = b->spec;
    size_t hidden = s->hidden_size, width = s->expert_width, rows = s->n_experts * width;
    struct moe_matrix gate, up, down;
    MOE_TRY(moe_bind_matrix(b, &gate, MOE_T_STACKED_GATE, rows, hidden));
    MOE_TRY(moe_bind_matrix(b, &up, MOE_T_STACKED_UP, rows, hidden));
    MOE_TRY(moe_bind_matrix(b, &down, MOE_T_STACKED_DOWN, rows, hidden));
    for (size_t e = 0; e < s->n_experts; e++) {
        const struct moe_matrix w = moe_matrix_rows(&down, e * width, width);
        experts[e].gate.w = moe_matrix_rows(&gate, e * width, width);
        experts[e].up.w = moe_matrix_rows(&up, e * width, width);
        MOE_TRY(moe_bind_transposed(b, &experts[e].down.w, &w));
    }
    return MOE_OK;
}

static moe_status bind_routed(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    void *experts;
    MOE_TRY(moe_binder_own(b, &experts, s->n_experts * sizeof *w->experts));
    w->experts = memset(experts, 0, s->n_experts * sizeof *w->experts);
    if (s->family->fused == MOE_FUSED_ROWS) return bind_expert_rows(b, w->experts);
    if (moe_binder_has(b, MOE_T_FUSED_GATE_UP)) return bind_fused_experts(b, w->experts);
    if (moe_binder_has(b, MOE_T_STACKED_GATE)) return bind_stacked_experts(b, w->experts);
    for (b->expert = 0; b->expert < s->n_experts; b->expert++)
        MOE_TRY(bind_ffn(b, &w->experts[b->expert], MOE_T_EXPERT_GATE, MOE_T_EXPERT_UP, MOE_T_EXPERT_DOWN,
                         s->expert_width, s->bias_experts));
    return MOE_OK;
}

static moe_status bind_correction(struct moe_binder *b, struct moe_layer_weights *w) {
    const size_t n = b->spec->router.n_choices, row[] = {1, n};
    switch (b->spec->family->router.correction) {
    case MOE_CORRECTION_NONE:
        return MOE_OK;
    case MOE_CORRECTION_VECTOR:
        break;
    case MOE_CORRECTION_ROW:
        return moe_bind_array(b, &w->correction, MOE_T_CORRECTION, NULL, row, 2);
    case MOE_CORRECTION_OPTIONAL:
        if (!moe_binder_has(b, MOE_T_CORRECTION)) return MOE_OK;
        break;
    }
    return moe_bind_vector(b, &w->correction, MOE_T_CORRECTION, NULL, n);
}

static moe_status bind_shared(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    size_t width = s->shared_width;
    struct moe_matrix both;
    if (!s->family->tensor[MOE_T_SHARED_GATE_UP])
        return bind_ffn(b, &w->shared, MOE_T_SHARED_GATE, MOE_T_SHARED_UP, MOE_T_SHARED_DOWN, width,
                        s->bias_ffn);
    MOE_TRY(moe_bind_matrix(b, &both, MOE_T_SHARED_GATE_UP, 2 * width, s->hidden_size));
    w->shared.gate.w = moe_matrix_rows(&both, 0, width);
    w->shared.up.w = moe_matrix_rows(&both, width, width);
    return moe_bind_matrix(b, &w->shared.down.w, MOE_T_SHARED_DOWN, s->hidden_size, width);
}

moe_status moe_bind_experts(struct moe_binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    MOE_TRY(moe_bind_linear(b, &w->router, MOE_T_ROUTER, s->router.n_choices, s->hidden_size,
                            s->family->router.bias));
    MOE_TRY(bind_correction(b, w));
    MOE_TRY(bind_routed(b, w));
    if (s->family->norms_experts)
        MOE_TRY(moe_bind_vector(b, &w->experts_norm.gain, MOE_T_EXPERTS_NORM, NULL, s->hidden_size));
    if (!s->shared_width) return MOE_OK;
    MOE_TRY(bind_shared(b, w));
    if (s->family->shared != MOE_SHARED_SIGMOID) return MOE_OK;
    return moe_bind_matrix(b, &w->shared_score, MOE_T_SHARED_SCORE, 1, s->hidden_size);
}

moe_status moe_bind_dense(struct moe_binder *b, struct moe_layer_weights *w) {
    return bind_ffn(b, &w->dense, MOE_T_DENSE_GATE, MOE_T_DENSE_UP, MOE_T_DENSE_DOWN, b->spec->dense_width,
                    b->spec->bias_ffn);
}
