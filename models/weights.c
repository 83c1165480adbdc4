#include "models/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/storage.h"

enum { MAX_NAME = 256 };

/* The three ways in which the experts of a layer lie in a checkpoint (tensors.def). */
enum expert_layout { EXPERTS_SEPARATE, EXPERTS_FUSED, EXPERTS_STACKED };

/* Vectors that were widened, in one list to free. */
struct owned {
    struct owned *next;
    float data[];
};

struct binder {
    struct moe_weights *out;
    const struct moe_spec *spec;
    struct moe_storage storage;
    const struct moe_weights_progress *progress;
    size_t layer, expert, done, total;
    moe_error *err;
};

/* Fills a pattern's {L} and {E}; with `suffix`, a trailing ".weight" is replaced by it. */
static void write_name(char out[MAX_NAME], const struct binder *b, enum moe_tensor_role role,
                       const char *suffix) {
    const char *p = moe_family_tensor(b->spec->family, role);
    size_t at = 0;
    while (*p && at + 24 < MAX_NAME) {
        if (!strncmp(p, "{L}", 3) || !strncmp(p, "{E}", 3)) {
            at += (size_t)snprintf(out + at, MAX_NAME - at, "%zu", p[1] == 'L' ? b->layer : b->expert);
            p += 3;
        } else {
            out[at++] = *p++;
        }
    }
    out[at] = '\0';
    char *weight = suffix ? strstr(out, ".weight") : NULL;
    if (weight) snprintf(weight, MAX_NAME - (size_t)(weight - out), "%s", suffix);
}

static void count(struct binder *b) {
    b->done++;
    if (b->progress && b->progress->call) b->progress->call(b->progress->context, b->done, b->total);
}

static moe_status bind_matrix(struct binder *b, struct moe_matrix *out, enum moe_tensor_role role,
                              size_t rows, size_t cols) {
    char name[MAX_NAME];
    write_name(name, b, role, NULL);
    MOE_TRY(moe_storage_get(out, &b->storage, name, 0, rows, cols, b->err));
    count(b);
    return MOE_OK;
}

static moe_status bind_vector(struct binder *b, const float **out, enum moe_tensor_role role,
                              const char *suffix, size_t n) {
    char name[MAX_NAME];
    write_name(name, b, role, suffix);
    struct owned *o = malloc(sizeof *o + n * sizeof(float));
    if (!o) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    o->next = b->out->owned;
    b->out->owned = o;
    MOE_TRY(moe_storage_get_vector(o->data, &b->storage, name, n, b->err));
    *out = o->data;
    count(b);
    return MOE_OK;
}

static moe_status bind_linear(struct binder *b, struct moe_linear *out, enum moe_tensor_role role,
                              size_t rows, size_t cols, bool bias) {
    MOE_TRY(bind_matrix(b, &out->w, role, rows, cols));
    return bias ? bind_vector(b, &out->bias, role, ".bias", rows) : MOE_OK;
}

static moe_status bind_attention(struct binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    size_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    MOE_TRY(bind_vector(b, &w->attention_norm, MOE_T_ATTENTION_NORM, NULL, s->hidden_size));
    MOE_TRY(bind_linear(b, &w->q, MOE_T_Q, q, s->hidden_size, s->bias_qkv));
    MOE_TRY(bind_linear(b, &w->k, MOE_T_K, kv, s->hidden_size, s->bias_qkv));
    MOE_TRY(bind_linear(b, &w->v, MOE_T_V, kv, s->hidden_size, s->bias_qkv));
    MOE_TRY(bind_linear(b, &w->o, MOE_T_O, s->hidden_size, q, s->bias_o));
    if (s->family->qk_norm == MOE_QK_NORM_NONE) return MOE_OK;
    bool flat = s->family->qk_norm == MOE_QK_NORM_FLAT;
    MOE_TRY(bind_vector(b, &w->q_norm, MOE_T_Q_NORM, NULL, flat ? q : s->head_dim));
    return bind_vector(b, &w->k_norm, MOE_T_K_NORM, NULL, flat ? kv : s->head_dim);
}

static moe_status bind_ffn(struct binder *b, struct moe_ffn *out, enum moe_tensor_role gate,
                           enum moe_tensor_role up, enum moe_tensor_role down, size_t width) {
    size_t hidden = b->spec->hidden_size;
    MOE_TRY(bind_matrix(b, &out->gate, gate, width, hidden));
    MOE_TRY(bind_matrix(b, &out->up, up, width, hidden));
    return bind_matrix(b, &out->down, down, hidden, width);
}

static bool has(struct binder *b, enum moe_tensor_role role) {
    char name[MAX_NAME];
    write_name(name, b, role, NULL);
    return moe_storage_has(&b->storage, name);
}

static enum expert_layout find_expert_layout(struct binder *b) {
    if (has(b, MOE_T_FUSED_GATE_UP)) return EXPERTS_FUSED;
    return has(b, MOE_T_STACKED_GATE) ? EXPERTS_STACKED : EXPERTS_SEPARATE;
}

/* One tensor [n_experts, rows, cols] for all experts, in out [n_experts]. */
static moe_status get_stack(struct binder *b, struct moe_matrix *out, enum moe_tensor_role role, size_t rows,
                            size_t cols) {
    char name[MAX_NAME];
    write_name(name, b, role, NULL);
    MOE_TRY(moe_storage_get(out, &b->storage, name, b->spec->n_experts, rows, cols, b->err));
    count(b);
    return MOE_OK;
}

/* Scratch holds three stacks [n_experts]. */
static moe_status split_stacks(struct binder *b, struct moe_ffn *experts, bool fused,
                               struct moe_matrix *scratch) {
    size_t hidden = b->spec->hidden_size, width = b->spec->expert_width, n = b->spec->n_experts;
    struct moe_matrix *gate = scratch, *up = scratch + n, *down = scratch + 2 * n;
    if (fused) {
        MOE_TRY(get_stack(b, gate, MOE_T_FUSED_GATE_UP, 2 * width, hidden));
        MOE_TRY(get_stack(b, down, MOE_T_FUSED_DOWN, hidden, width));
        for (size_t e = 0; e < n; e++) up[e] = moe_matrix_rows(&gate[e], width, width);
    } else {
        MOE_TRY(get_stack(b, gate, MOE_T_STACKED_GATE, width, hidden));
        MOE_TRY(get_stack(b, up, MOE_T_STACKED_UP, width, hidden));
        MOE_TRY(get_stack(b, down, MOE_T_STACKED_DOWN, hidden, width));
    }
    for (size_t e = 0; e < n; e++)
        experts[e] = (struct moe_ffn){moe_matrix_rows(&gate[e], 0, width), up[e], down[e]};
    return MOE_OK;
}

static moe_status bind_stacked_experts(struct binder *b, struct moe_ffn *experts, bool fused) {
    struct moe_matrix *scratch = calloc(3 * b->spec->n_experts, sizeof *scratch);
    if (!scratch) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    moe_status status = split_stacks(b, experts, fused, scratch);
    free(scratch);
    return status;
}

static moe_status bind_moe(struct binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    enum expert_layout layout = find_expert_layout(b);
    w->experts = calloc(s->n_experts, sizeof *w->experts);
    if (!w->experts) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    enum moe_tensor_role router =
        layout == EXPERTS_FUSED && has(b, MOE_T_ROUTER_FUSED) ? MOE_T_ROUTER_FUSED : MOE_T_ROUTER;
    MOE_TRY(bind_matrix(b, &w->router, router, s->n_experts, s->hidden_size));
    if (layout != EXPERTS_SEPARATE) {
        MOE_TRY(bind_stacked_experts(b, w->experts, layout == EXPERTS_FUSED));
    } else {
        for (b->expert = 0; b->expert < s->n_experts; b->expert++)
            MOE_TRY(bind_ffn(b, &w->experts[b->expert], MOE_T_EXPERT_GATE, MOE_T_EXPERT_UP, MOE_T_EXPERT_DOWN,
                             s->expert_width));
    }
    if (s->family->shared == MOE_SHARED_NONE) return MOE_OK;
    MOE_TRY(bind_ffn(b, &w->shared, MOE_T_SHARED_GATE, MOE_T_SHARED_UP, MOE_T_SHARED_DOWN, s->shared_width));
    return bind_matrix(b, &w->shared_score, MOE_T_SHARED_SCORE, 1, s->hidden_size);
}

static moe_status bind_layer(struct binder *b, struct moe_layer_weights *w) {
    const struct moe_spec *s = b->spec;
    MOE_TRY(bind_attention(b, w));
    MOE_TRY(bind_vector(b, &w->ffn_norm, MOE_T_FFN_NORM, NULL, s->hidden_size));
    if (s->layers[b->layer].dense)
        return bind_ffn(b, &w->dense, MOE_T_DENSE_GATE, MOE_T_DENSE_UP, MOE_T_DENSE_DOWN, s->dense_width);
    return bind_moe(b, w);
}

static moe_status bind_all(struct binder *b) {
    const struct moe_spec *s = b->spec;
    struct moe_weights *out = b->out;
    out->layers = calloc(s->n_layers, sizeof *out->layers);
    out->n_layers = s->n_layers;
    if (!out->layers) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(bind_matrix(b, &out->embed, MOE_T_EMBED, s->vocab_size, s->hidden_size));
    for (b->layer = 0; b->layer < s->n_layers; b->layer++) MOE_TRY(bind_layer(b, &out->layers[b->layer]));
    MOE_TRY(bind_vector(b, &out->final_norm, MOE_T_FINAL_NORM, NULL, s->hidden_size));
    if (!s->tied) return bind_matrix(b, &out->head, MOE_T_HEAD, s->vocab_size, s->hidden_size);
    out->head = out->embed;
    return MOE_OK;
}

moe_status moe_weights_bind(struct moe_weights *out, const struct moe_spec *spec,
                            const struct moe_source *source, const struct moe_weights_progress *progress,
                            moe_error *err) {
    *out = (struct moe_weights){0};
    /* close enough for a progress bar: the experts are nearly all of the tensors */
    struct binder b = {.out = out, .spec = spec, .progress = progress, .err = err};
    b.storage = (struct moe_storage){.source = source, .quantization = &spec->quantization};
    b.total = spec->n_layers * (3 * spec->n_experts + 8);
    moe_status status = bind_all(&b);
    out->n_parameters = b.storage.totals.n_parameters;
    out->n_bytes = b.storage.totals.n_bytes;
    memcpy(out->layouts, b.storage.layouts, sizeof out->layouts);
    if (status == MOE_OK && progress && progress->call) progress->call(progress->context, b.done, b.done);
    if (status != MOE_OK) moe_weights_free(out);
    return status;
}

void moe_weights_free(struct moe_weights *weights) {
    for (size_t l = 0; weights->layers && l < weights->n_layers; l++) free(weights->layers[l].experts);
    free(weights->layers);
    for (struct owned *o = weights->owned, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    *weights = (struct moe_weights){0};
}
