#include "models/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/spec_read.h"

static moe_status read_activation(const struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const char *act = "silu";
    moe_key key = s->family->hidden_act ? s->family->hidden_act : "hidden_act";
    struct moe_json_value v = moe_spec_get(config, key);
    MOE_TRY(moe_spec_no_null(config, key, "a string", err));
    if (v.node) MOE_TRY(moe_json_string(&act, v, err));
    if (strcmp(act, "silu") && strcmp(act, "swish"))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s \"%s\" is not supported, only silu", config.doc->file,
                        v.path, act);
    return MOE_OK;
}

static moe_status check_refused(const struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    bool is_set;
    struct moe_bool_key key = s->family->refused_if_true;
    MOE_TRY(moe_spec_bool(&is_set, config, key, err));
    if (!is_set) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: true is not supported", config.doc->file, key.key);
}

/* A model of more than text may hold one of several text models. */
static moe_status check_part(const struct moe_spec *s, struct moe_json_value text, moe_error *err) {
    const char *type;
    struct moe_json_value v = moe_json_get(text, "model_type");
    if (!*s->prefix || !v.node) return MOE_OK;
    MOE_TRY(moe_json_string(&type, v, err));
    if (!strcmp(type, s->family->model_type)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not supported, only %s", v.doc->file, v.path,
                    type, s->family->model_type);
}

/* The family, and *text, what is of it in a config.json of more than text. */
static moe_status read_family(struct moe_spec *s, struct moe_json_value *text, struct moe_json_value config,
                              moe_error *err) {
    const char *type, *reason;
    MOE_TRY(moe_json_string(&type, moe_json_get(config, "model_type"), err));
    s->family = moe_family_find(type, &reason);
    if (!s->family)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: model_type \"%s\" is not supported: %s",
                        config.doc->file, type, reason);
    *text = moe_spec_text_config(config);
    s->prefix = text->node == config.node ? "" : s->family->prefix;
    if (!moe_json_is_object(*text))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object", config.doc->file, text->path);
    MOE_TRY(check_part(s, *text, err));
    return moe_quantization_read(&s->quantization, config, err);
}

struct moe_json_value moe_spec_text_config(struct moe_json_value config) {
    const char *type;
    struct moe_json_value v = moe_json_get(config, "model_type");
    if (!moe_json_is_string(v) || moe_json_string(&type, v, NULL) != MOE_OK) return config;
    const struct moe_family *family = moe_family_find(type, NULL);
    bool is_part = family && family->part_of && !strcmp(family->part_of, type);
    return is_part ? moe_json_get(config, "text_config") : config;
}

/* Where a layer counts as two, num_hidden_layers is the number of halves, if it is there as well. */
static moe_status check_sublayers(const struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    size_t n;
    const struct moe_int_key halves = {"num_hidden_layers", 0};
    if (s->sublayers == 1 || !moe_spec_has(config, halves.key)) return MOE_OK;
    MOE_TRY(moe_spec_size(&n, config, halves, (int64_t)s->sublayers * MOE_MAX_LAYERS, err));
    if (n == s->n_layers) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: num_hidden_layers: %zu is not the %zu halves of layers",
                    config.doc->file, n, s->n_layers);
}

static moe_status read_sizes(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    const struct moe_int_key hidden = {f->hidden_size ? f->hidden_size : "hidden_size", 0},
                             layers = {f->n_layers ? f->n_layers : "num_hidden_layers", 0},
                             positions = {f->max_positions ? f->max_positions : "max_position_embeddings", 0};
    MOE_TRY(moe_spec_size(&s->hidden_size, config, hidden, MOE_MAX_SIZE, err));
    MOE_TRY(moe_spec_size(&s->n_layers, config, layers, MOE_MAX_LAYERS, err));
    s->sublayers = f->block == MOE_BLOCK_SHORTCUT ? 2 : 1;
    s->n_layers *= s->sublayers;
    MOE_TRY(check_sublayers(s, config, err));
    MOE_TRY(moe_spec_size(&s->vocab_size, config, (struct moe_int_key){"vocab_size", 0}, MOE_MAX_VOCAB, err));
    if (moe_spec_has(config, positions.key))
        MOE_TRY(moe_spec_size(&s->max_positions, config, positions, INT32_MAX, err));
    MOE_TRY(moe_spec_unused(config, "pad_token_id", err));
    MOE_TRY(moe_spec_unused(config, "sliding_window", err));
    return moe_spec_unused(config, "max_window_layers", err);
}

static moe_status read_norm(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    struct moe_real_key eps = f->norm_eps;
    s->norm = f->norm;
    if (f->norm == MOE_NORM_BY_KEY) {
        bool rms = moe_spec_get(config, "rms_norm_eps").node;
        s->norm = rms ? MOE_NORM_RMS : MOE_NORM_LAYER_NO_BIAS;
        eps.key = rms ? "rms_norm_eps" : "layer_norm_eps";
    }
    return moe_spec_real(&s->norm_eps, config, eps, err);
}

static moe_status read_factors(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    float divisor;
    bool by_width;
    MOE_TRY(moe_spec_factor(&s->embed_scale, config, f->embed_scale, err));
    MOE_TRY(moe_spec_factor(&s->residual_scale, config, f->residual_scale, err));
    MOE_TRY(moe_spec_factor(&s->logits_scale, config, f->logits_scale, err));
    MOE_TRY(moe_spec_factor(&divisor, config, f->logits_divisor, err));
    s->logits_scale /= divisor;
    MOE_TRY(moe_spec_bool(&by_width, config, f->embed_by_width, err));
    if (by_width) s->embed_scale *= sqrtf((float)s->hidden_size);
    if (isfinite(s->logits_scale) && s->logits_scale > 0) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: 1 / %g is not a number in fp32", config.doc->file,
                    f->logits_divisor.key, (double)divisor);
}

static moe_status resolve(struct moe_spec *s, struct moe_json_value whole, moe_error *err) {
    struct moe_json_value config;
    MOE_TRY(read_family(s, &config, whole, err));
    const struct moe_family *f = s->family;
    MOE_TRY(check_refused(s, config, err));
    MOE_TRY(read_activation(s, config, err));
    MOE_TRY(read_sizes(s, config, err));
    MOE_TRY(read_norm(s, config, err));
    bool is_part = *s->prefix && f->part_tied.key;
    MOE_TRY(moe_spec_bool(&s->tied, is_part ? whole : config, is_part ? f->part_tied : f->tied, err));
    MOE_TRY(moe_spec_bool(&s->bias_head, config, f->bias_head, err));
    MOE_TRY(read_factors(s, config, err));
    s->layers = calloc(s->n_layers, sizeof *s->layers);
    if (!s->layers) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(moe_spec_ffn(s, config, err));
    MOE_TRY(moe_spec_layers(s, config, err));
    MOE_TRY(moe_spec_attention(s, config, err));
    return moe_spec_steps(s, err);
}

moe_status moe_spec_resolve(struct moe_spec *out, struct moe_json_value config, moe_error *err) {
    *out = (struct moe_spec){0};
    if (!moe_json_is_object(config))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: expected an object", config.doc->file);
    moe_status status = resolve(out, config, err);
    if (status != MOE_OK) moe_spec_free(out);
    return status;
}

void moe_spec_free(struct moe_spec *spec) {
    for (size_t i = 0; i < spec->n_ropes; i++) moe_rope_spec_free(&spec->ropes[i]);
    moe_quantization_free(&spec->quantization);
    free(spec->ropes);
    free(spec->layers);
    free(spec->steps);
    *spec = (struct moe_spec){0};
}
