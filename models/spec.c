#include "models/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ceilings for numbers of config.json: far above any model, low enough that products of three fit in 64 bits.
 */
enum { MAX_SIZE = 1 << 20, MAX_VOCAB = 1 << 24, MAX_LAYERS = 1 << 12 };

/* transformers 5 writes these names for what a family's own key says. */
static const char *const n_experts_aliases[] = {"num_experts", "num_local_experts", NULL};
static const char *const no_alias[] = {NULL};

/* Reads key (or one of the aliases) as an integer in 1..max. absent 0: it must be there. */
static moe_status read_size(size_t *out, struct moe_json_value config, struct moe_int_key k,
                            const char *const *aliases, int64_t max, moe_error *err) {
    const char *key = k.key;
    for (const char *const *a = aliases; !moe_json_has(config, key) && *a; a++)
        if (moe_json_has(config, *a)) key = *a;
    if (!moe_json_has(config, key) && k.absent > 0) {
        *out = (size_t)k.absent;
        return MOE_OK;
    }
    int64_t n;
    MOE_TRY(moe_json_int(&n, moe_json_get(config, key), 1, max, err));
    *out = (size_t)n;
    return MOE_OK;
}

static moe_status read_bool(bool *out, struct moe_json_value config, struct moe_bool_key k, moe_error *err) {
    *out = k.absent;
    if (!k.key || !moe_json_has(config, k.key)) return MOE_OK;
    return moe_json_bool(out, moe_json_get(config, k.key), err);
}

/* A finite number above 0; absent or null: `absent`. */
static moe_status read_positive(float *out, struct moe_json_value config, const char *key, double absent,
                                moe_error *err) {
    double x = absent;
    struct moe_json_value v = moe_json_get(config, key);
    if (v.node) {
        MOE_TRY(moe_json_number(&x, v, err));
        if (!(x > 0) || !isfinite((float)x) || (float)x == 0)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a positive number, found %g",
                            config.doc->file, key, x);
    }
    *out = (float)x;
    return MOE_OK;
}

static moe_status read_family(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const char *type, *reason;
    MOE_TRY(moe_json_string(&type, moe_json_get(config, "model_type"), err));
    s->family = moe_family_find(type, &reason);
    if (!s->family)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: model_type \"%s\" is not supported: %s",
                        config.doc->file, type, reason);
    MOE_TRY(moe_quantization_read(&s->quantization, config, err));
    const char *act = "silu";
    struct moe_json_value v = moe_json_get(config, "hidden_act");
    if (v.node) MOE_TRY(moe_json_string(&act, v, err));
    if (strcmp(act, "silu") && strcmp(act, "swish"))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: hidden_act \"%s\" is not supported, only silu",
                        config.doc->file, act);
    return MOE_OK;
}

static moe_status read_attention(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    const char *file = config.doc->file;
    MOE_TRY(read_size(&s->n_heads, config, (struct moe_int_key){"num_attention_heads", 0}, no_alias, MAX_SIZE,
                      err));
    struct moe_int_key kv = f->n_kv_heads;
    if (!moe_json_get(config, kv.key).node && kv.absent == MOE_AS_MANY_AS_HEADS)
        s->n_kv_heads = s->n_heads;
    else
        MOE_TRY(read_size(&s->n_kv_heads, config, kv, no_alias, MAX_SIZE, err));
    if (s->n_heads % s->n_kv_heads)
        return MOE_FAIL(err, MOE_E_FORMAT,
                        "%s: num_key_value_heads: %zu does not divide num_attention_heads %zu", file,
                        s->n_kv_heads, s->n_heads);
    if (moe_json_get(config, "head_dim").node) {
        MOE_TRY(
            read_size(&s->head_dim, config, (struct moe_int_key){"head_dim", 0}, no_alias, MAX_SIZE, err));
    } else {
        if (s->hidden_size % s->n_heads)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: num_attention_heads: %zu does not divide hidden_size %zu",
                            file, s->n_heads, s->hidden_size);
        s->head_dim = s->hidden_size / s->n_heads;
    }
    MOE_TRY(read_bool(&s->bias_qkv, config, f->bias_qkv, err));
    MOE_TRY(read_bool(&s->bias_o, config, f->bias_o, err));
    if (f->clip_qkv) MOE_TRY(read_positive(&s->clip_qkv, config, "clip_qkv", 0, err));
    const struct moe_rope_defaults rope = {f->rope_theta, s->head_dim, s->max_positions};
    return moe_rope_spec_read(&s->rope, config, &rope, err);
}

static moe_status read_ffn(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    MOE_TRY(read_size(&s->n_experts, config, f->n_experts, n_experts_aliases, MAX_SIZE, err));
    MOE_TRY(read_size(&s->top_k, config, f->top_k, no_alias, MAX_SIZE, err));
    if (s->top_k > s->n_experts)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %zu is more than the %zu experts", config.doc->file,
                        f->top_k.key, s->top_k, s->n_experts);
    MOE_TRY(read_size(&s->expert_width, config, f->expert_width, no_alias, MAX_SIZE, err));
    if (f->dense != MOE_DENSE_NEVER)
        MOE_TRY(read_size(&s->dense_width, config, f->dense_width, no_alias, MAX_SIZE, err));
    if (f->shared != MOE_SHARED_NONE)
        MOE_TRY(read_size(&s->shared_width, config, f->shared_width, no_alias, MAX_SIZE, err));
    s->renorm = f->renorm == MOE_RENORM_ALWAYS;
    if (f->renorm == MOE_RENORM_BY_KEY)
        MOE_TRY(read_bool(&s->renorm, config, (struct moe_bool_key){"norm_topk_prob", false}, err));
    return MOE_OK;
}

static moe_status read_dense_layers(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    if (s->family->dense == MOE_DENSE_NEVER) return MOE_OK;
    size_t step;
    MOE_TRY(
        read_size(&step, config, (struct moe_int_key){"decoder_sparse_step", 1}, no_alias, MAX_LAYERS, err));
    for (size_t l = 0; l < s->n_layers; l++) s->layers[l].dense = (l + 1) % step != 0;
    struct moe_json_value list = moe_json_get(config, "mlp_only_layers"), v;
    if (list.node && !moe_json_is_array(list))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: mlp_only_layers: expected an array", config.doc->file);
    struct moe_json_iterator it = {0};
    while (moe_json_next(&it, list, NULL, &v)) {
        int64_t l;
        MOE_TRY(moe_json_int(&l, v, 0, INT32_MAX, err));
        if ((size_t)l < s->n_layers) s->layers[l].dense = true;
    }
    return MOE_OK;
}

/* Which layers slide by the family's rule, before layer_types has its say. */
static moe_status mark_sliding(bool *sliding, const struct moe_spec *s, struct moe_json_value config,
                               moe_error *err) {
    bool used = false;
    int64_t below = 0;
    switch (s->family->window) {
    case MOE_WINDOW_NEVER:
        break;
    case MOE_WINDOW_NON_NULL:
        used = moe_json_get(config, "sliding_window").node;
        break;
    case MOE_WINDOW_IF_USED:
    case MOE_WINDOW_EVEN_BELOW:
        MOE_TRY(read_bool(&used, config, (struct moe_bool_key){"use_sliding_window", false}, err));
        break;
    }
    if (used &&
        s->family->window == MOE_WINDOW_IF_USED) /* a null window is none; an absent one the default */
        used = !moe_json_has(config, "sliding_window") || moe_json_get(config, "sliding_window").node;
    if (s->family->window == MOE_WINDOW_EVEN_BELOW) {
        below = 28;
        if (moe_json_has(config, "max_window_layers"))
            MOE_TRY(moe_json_int(&below, moe_json_get(config, "max_window_layers"), 0, INT32_MAX, err));
    }
    for (size_t l = 0; l < s->n_layers; l++)
        sliding[l] =
            used && (s->family->window != MOE_WINDOW_EVEN_BELOW || (l % 2 == 0 && (int64_t)l < below));
    return MOE_OK;
}

/* layer_types, where the family reads it, overrides the derived pattern. */
static moe_status read_layer_types(bool *sliding, const struct moe_spec *s, struct moe_json_value config,
                                   moe_error *err) {
    struct moe_json_value list = moe_json_get(config, "layer_types"), v;
    if (s->family->window != MOE_WINDOW_EVEN_BELOW || !list.node) return MOE_OK;
    if (!moe_json_is_array(list) || moe_json_size(list) != s->n_layers)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: layer_types: expected an array of %zu", config.doc->file,
                        s->n_layers);
    struct moe_json_iterator it = {0};
    for (size_t l = 0; moe_json_next(&it, list, NULL, &v); l++) {
        const char *type;
        MOE_TRY(moe_json_string(&type, v, err));
        sliding[l] = !strcmp(type, "sliding_attention");
        if (!sliding[l] && strcmp(type, "full_attention"))
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not supported", config.doc->file,
                            v.path, type);
    }
    return MOE_OK;
}

static moe_status read_windows(struct moe_spec *s, struct moe_json_value config, bool *sliding,
                               moe_error *err) {
    MOE_TRY(mark_sliding(sliding, s, config, err));
    MOE_TRY(read_layer_types(sliding, s, config, err));
    for (size_t l = 0; l < s->n_layers; l++) {
        if (!sliding[l]) continue;
        MOE_TRY(read_size(&s->layers[l].window, config, (struct moe_int_key){"sliding_window", 4096},
                          no_alias, INT32_MAX, err));
    }
    return MOE_OK;
}

static moe_status read_layers(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    s->layers = calloc(s->n_layers, sizeof *s->layers);
    bool *sliding = calloc(s->n_layers, sizeof *sliding);
    moe_status status = MOE_E_MEMORY;
    if (!s->layers || !sliding)
        MOE_FAIL(err, status, "out of memory");
    else if ((status = read_dense_layers(s, config, err)) == MOE_OK)
        status = read_windows(s, config, sliding, err);
    free(sliding);
    return status;
}

static moe_status resolve(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    MOE_TRY(read_family(s, config, err));
    MOE_TRY(
        read_size(&s->hidden_size, config, (struct moe_int_key){"hidden_size", 0}, no_alias, MAX_SIZE, err));
    MOE_TRY(read_size(&s->n_layers, config, (struct moe_int_key){"num_hidden_layers", 0}, no_alias,
                      MAX_LAYERS, err));
    MOE_TRY(
        read_size(&s->vocab_size, config, (struct moe_int_key){"vocab_size", 0}, no_alias, MAX_VOCAB, err));
    if (moe_json_has(config, "max_position_embeddings"))
        MOE_TRY(read_size(&s->max_positions, config, (struct moe_int_key){"max_position_embeddings", 0},
                          no_alias, INT32_MAX, err));
    MOE_TRY(read_positive(&s->norm_eps, config, "rms_norm_eps", s->family->norm_eps, err));
    MOE_TRY(read_bool(&s->tied, config, (struct moe_bool_key){"tie_word_embeddings", false}, err));
    MOE_TRY(read_attention(s, config, err));
    MOE_TRY(read_ffn(s, config, err));
    return read_layers(s, config, err);
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
    moe_rope_spec_free(&spec->rope);
    moe_quantization_free(&spec->quantization);
    free(spec->layers);
    *spec = (struct moe_spec){0};
}
