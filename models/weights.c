#include "models/weights.h"

#include <stdlib.h>

#include "models/binder.h"

static moe_status bind_norm(struct moe_binder *b, struct moe_norm *out, enum moe_tensor_role role) {
    MOE_TRY(moe_bind_vector(b, &out->gain, role, NULL, b->spec->hidden_size));
    if (b->spec->family->norm != MOE_NORM_LAYER) return MOE_OK;
    return moe_bind_vector(b, &out->bias, role, ".bias", b->spec->hidden_size);
}

static moe_status bind_layer(struct moe_binder *b, struct moe_layer_weights *w) {
    MOE_TRY(bind_norm(b, &w->attention_norm, MOE_T_ATTENTION_NORM));
    MOE_TRY(moe_bind_attention(b, w));
    MOE_TRY(bind_norm(b, &w->ffn_norm, MOE_T_FFN_NORM));
    return moe_bind_ffn_layer(b, w);
}

static moe_status bind_head(struct moe_binder *b, struct moe_weights *out) {
    const struct moe_spec *s = b->spec;
    if (!s->tied)
        return moe_bind_linear(b, &out->head, MOE_T_HEAD, s->vocab_size, s->hidden_size, s->bias_head);
    out->head.w = out->embed;
    return s->bias_head ? moe_bind_vector(b, &out->head.bias, MOE_T_HEAD, ".bias", s->vocab_size) : MOE_OK;
}

static moe_status bind_all(struct moe_binder *b) {
    const struct moe_spec *s = b->spec;
    struct moe_weights *out = b->out;
    out->layers = calloc(s->n_layers, sizeof *out->layers);
    out->n_layers = s->n_layers;
    b->scratch = calloc(s->n_experts, sizeof *b->scratch);
    if (!out->layers || !b->scratch) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(moe_bind_matrix(b, &out->embed, MOE_T_EMBED, s->vocab_size, s->hidden_size));
    for (b->layer = 0; b->layer < s->n_layers; b->layer++) MOE_TRY(bind_layer(b, &out->layers[b->layer]));
    MOE_TRY(bind_norm(b, &out->final_norm, MOE_T_FINAL_NORM));
    return bind_head(b, out);
}

moe_status moe_weights_bind(struct moe_weights *out, const struct moe_spec *spec,
                            const struct moe_source *source, const struct moe_weights_progress *progress,
                            moe_error *err) {
    *out = (struct moe_weights){0};
    struct moe_binder b = {.out = out, .spec = spec, .progress = progress, .err = err};
    b.storage = (struct moe_storage){.source = source, .quantization = &spec->quantization};
    /* close enough for a progress bar: the experts are nearly all of the tensors */
    b.total = spec->n_layers * (3 * spec->n_experts + 8);
    moe_status status = bind_all(&b);
    free(b.scratch);
    for (size_t i = 0; i < MOE_LAYOUT_COUNT; i++) out->layouts[i] = b.storage.layouts[i];
    out->n_parameters = b.storage.totals.n_parameters;
    out->n_bytes = b.storage.totals.n_bytes;
    if (status == MOE_OK && progress && progress->call) progress->call(progress->context, b.done, b.done);
    if (status != MOE_OK) moe_weights_free(out);
    return status;
}
