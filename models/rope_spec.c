/* Frequencies are computed as transformers does, in the same precision: powers and quotients in fp32, each
 * rounded once from double, the settings in double. */
#include "models/rope_spec.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/spec_read.h"

static const double two_pi = 6.283185307179586476925286766559;

/* Settings: a member of the rope dictionary, else of config.json itself. */
struct settings {
    struct moe_json_value rope, config;
    double theta, factor;
    size_t dim;      /* rotated width */
    size_t original; /* context length the model was pretrained with; 0: unknown */
    size_t max_positions;
    bool by_type; /* rope is the part for one type of layer */
};

static moe_status read_positive(double *out, struct moe_json_value v, double absent, moe_error *err) {
    *out = absent;
    if (!v.node) return MOE_OK;
    MOE_TRY(moe_json_number(out, v, err));
    if (!((float)*out > 0) || !isfinite((float)*out)) /* what becomes of it is computed in fp32 */
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a positive number, found %g", v.doc->file,
                        v.path, *out);
    return MOE_OK;
}

static moe_status read_required(double *out, struct moe_json_value v, moe_error *err) {
    MOE_TRY(moe_json_number(out, v, err));
    return read_positive(out, v, 0, err);
}

/* theta^(2t / dim) in fp32: the operands and the result rounded, as torch computes base ** tensor */
static float power_of(float theta, size_t t, size_t dim) {
    return (float)pow((double)theta, (double)((float)(2 * t) / (float)dim));
}

static float power(const struct settings *s, size_t t) {
    return power_of((float)s->theta, t, s->dim);
}

static void fill_default(float *inv_freq, const struct settings *s) {
    for (size_t t = 0; t < s->dim / 2; t++) inv_freq[t] = 1.0f / power(s, t);
}

static void fill_linear(float *inv_freq, const struct settings *s) {
    fill_default(inv_freq, s);
    for (size_t t = 0; t < s->dim / 2; t++) inv_freq[t] /= (float)s->factor;
}

/* Llama 3: long wavelengths are stretched by the factor, short ones kept, those between interpolated. */
static moe_status fill_llama3(float *inv_freq, const struct settings *s, moe_error *err) {
    double low, high;
    MOE_TRY(read_required(&low, moe_json_get(s->rope, "low_freq_factor"), err));
    MOE_TRY(read_required(&high, moe_json_get(s->rope, "high_freq_factor"), err));
    double original = (double)s->original;
    float long_wave = (float)(original / low), short_wave = (float)(original / high);
    fill_default(inv_freq, s);
    for (size_t t = 0; t < s->dim / 2; t++) {
        float wave = (float)two_pi / inv_freq[t];
        if (wave > long_wave) {
            inv_freq[t] /= (float)s->factor;
        } else if (!(wave < short_wave)) {
            float smooth = ((float)original / wave - (float)low) / (float)(high - low);
            inv_freq[t] = (1 - smooth) * inv_freq[t] / (float)s->factor + smooth * inv_freq[t];
        }
    }
    return MOE_OK;
}

static double yarn_scale(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

/* The dimension whose wave turns `rotations` times within the original context. */
static double yarn_dimension(const struct settings *s, double rotations) {
    return (double)s->dim * log((double)s->original / (rotations * two_pi)) / (2 * log(s->theta));
}

static moe_status read_yarn_attention(struct moe_rope_spec *out, const struct settings *s, moe_error *err) {
    double given, mscale = 0, mscale_all = 0;
    struct moe_json_value m = moe_json_get(s->rope, "mscale"), all = moe_json_get(s->rope, "mscale_all_dim");
    MOE_TRY(read_positive(&given, moe_json_get(s->rope, "attention_factor"), 0, err));
    if (m.node) MOE_TRY(moe_json_number(&mscale, m, err));
    if (all.node) MOE_TRY(moe_json_number(&mscale_all, all, err));
    if (given > 0)
        out->attention = (float)given;
    else if (mscale != 0 && mscale_all != 0)
        out->attention = (float)(yarn_scale(s->factor, mscale) / yarn_scale(s->factor, mscale_all));
    else
        out->attention = (float)yarn_scale(s->factor, 1);
    return MOE_OK;
}

/* DeepSeek's factor on the scores, of any type but default (transformers: yarn_apply_mscale). */
static moe_status read_score_scale(double *out, const struct settings *s, moe_error *err) {
    double mscale = 0;
    struct moe_json_value all = moe_json_get(s->rope, "mscale_all_dim");
    if (all.node) MOE_TRY(moe_json_number(&mscale, all, err));
    if (mscale != 0) *out = yarn_scale(s->factor, mscale) * yarn_scale(s->factor, mscale);
    if (isfinite((float)*out) && (float)*out >= FLT_MIN) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: the factor on scores that follows from %g is %g",
                    all.doc->file, all.path, mscale, *out);
}

/* YaRN (Peng et al. 2023): a ramp over the dimensions from extrapolated to interpolated frequencies. */
static moe_status fill_yarn(struct moe_rope_spec *out, const struct settings *s, moe_error *err) {
    double fast, slow;
    bool truncate = true;
    MOE_TRY(read_yarn_attention(out, s, err));
    MOE_TRY(read_positive(&fast, moe_json_get(s->rope, "beta_fast"), 32, err));
    MOE_TRY(read_positive(&slow, moe_json_get(s->rope, "beta_slow"), 1, err));
    /* beside the settings by type of layer, where there are such (_compute_yarn_parameters) */
    struct moe_json_value t_key =
        moe_json_get(s->by_type ? moe_json_get(s->config, "rope_parameters") : s->rope, "truncate");
    if (t_key.node) MOE_TRY(moe_json_bool(&truncate, t_key, err));
    double low = yarn_dimension(s, fast), high = yarn_dimension(s, slow);
    if (truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)s->dim - 1);
    if (low == high) high += 0.001;
    for (size_t t = 0; t < s->dim / 2; t++) {
        float p = power(s, t);
        float ramp = ((float)t - (float)low) / (float)(high - low);
        float keep = 1 - fminf(fmaxf(ramp, 0), 1);
        out->inv_freq[t] = 1.0f / ((float)s->factor * p) * (1 - keep) + 1.0f / p * keep;
    }
    return MOE_OK;
}

/* inv_freq divided by the factors of list `key`, one per pair. */
static moe_status fill_by_factors(float *inv_freq, const struct settings *s, const char *key,
                                  moe_error *err) {
    struct moe_json_value list = moe_json_get(s->rope, key), v;
    size_t n = s->dim / 2, t = 0;
    if (!moe_json_is_array(list) || moe_json_size(list) != n)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s.%s: expected an array of %zu", s->config.doc->file,
                        s->rope.path, key, n);
    struct moe_json_iterator it = {0};
    for (double factor; moe_json_next(&it, list, NULL, &v); t++) {
        MOE_TRY(read_required(&factor, v, err));
        inv_freq[t] = 1.0f / ((float)factor * power(s, t));
    }
    return MOE_OK;
}

/* LongRoPE (Ding et al. 2024): factors of their own for sequences up to the original length, and beyond. */
static moe_status fill_longrope(struct moe_rope_spec *out, const struct settings *s, moe_error *err) {
    double attention, original = (double)s->original;
    MOE_TRY(fill_by_factors(out->inv_freq, s, "short_factor", err));
    out->long_inv_freq = calloc(out->n_pairs, sizeof *out->long_inv_freq);
    if (!out->long_inv_freq) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(fill_by_factors(out->long_inv_freq, s, "long_factor", err));
    double usual = s->factor <= 1 ? 1 : sqrt(1 + log(s->factor) / log(original));
    MOE_TRY(read_positive(&attention, moe_json_get(s->rope, "attention_factor"), usual, err));
    out->attention = out->long_attention = (float)attention;
    out->long_after = s->original;
    return MOE_OK;
}

/* The stretch of theta is 1 where a sequence becomes long: a difference of numbers as large as the factor,
 * which must not lose that 1 in fp32 (moe_rope_frequencies). */
enum { MAX_DYNAMIC_FACTOR = 1 << 20 };

static moe_status fill_dynamic(struct moe_rope_spec *out, const struct settings *s, moe_error *err) {
    if (s->factor > MAX_DYNAMIC_FACTOR)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s.factor: expected at most %d for type dynamic, found %g",
                        s->config.doc->file, s->rope.path, MAX_DYNAMIC_FACTOR, s->factor);
    fill_default(out->inv_freq, s);
    out->dynamic_after = s->max_positions;
    out->factor = (float)s->factor;
    if (s->dim == 2)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: rope type dynamic needs a head_dim above 2",
                        s->config.doc->file, s->rope.path);
    return MOE_OK;
}

/* Phi-3.5-MoE's factors on cosine and sine, of any type but default (transformers: PhimoeRotaryEmbedding). It
 * takes the frequencies of a short sequence at every length, and starts anew where the factor changes. */
static moe_status read_mscale(struct moe_rope_spec *out, const struct settings *s, moe_error *err) {
    double small, large;
    MOE_TRY(read_required(&small, moe_json_get(s->rope, "short_mscale"), err));
    MOE_TRY(read_required(&large, moe_json_get(s->rope, "long_mscale"), err));
    free(out->long_inv_freq);
    out->long_inv_freq = NULL;
    out->dynamic_after = 0;
    out->attention = (float)small;
    out->long_attention = (float)large;
    out->long_after = s->original;
    out->recomputes = true;
    return MOE_OK;
}

static bool is_empty(struct moe_json_value v) {
    return !v.node || (moe_json_is_object(v) && !moe_json_size(v));
}

static moe_status check_object(struct moe_json_value v, moe_error *err) {
    if (!v.node || moe_json_is_object(v)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object", v.doc->file, v.path);
}

/* The dictionary of settings; `absent` is what stands for it when there is none. */
static moe_status find_settings(struct settings *s, struct moe_json_value absent,
                                const struct moe_rope_defaults *defaults, moe_error *err) {
    struct moe_json_value v4 = moe_json_get(s->config, "rope_scaling"),
                          v5 = moe_json_get(s->config, "rope_parameters");
    MOE_TRY(check_object(v4, err));
    s->rope = is_empty(v4) || defaults->family->ignores_scaling ? v5 : v4;
    MOE_TRY(check_object(s->rope, err));
    if (!s->rope.node) {
        s->rope = absent; /* an empty rope_parameters is type default in every family */
    } else if (defaults->member) {
        s->rope = moe_json_get(s->rope, defaults->member);
        MOE_TRY(check_object(s->rope, err));
        if (!s->rope.node)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: missing", s->config.doc->file, s->rope.path);
    }
    return MOE_OK;
}

static bool is_scaled(struct moe_json_value settings) {
    const char *type;
    struct moe_json_value v = moe_json_get(settings, "rope_type");
    if (!v.node) v = moe_json_get(settings, "type");
    return moe_json_is_string(v) && moe_json_string(&type, v, NULL) == MOE_OK && strcmp(type, "default") != 0;
}

/* Settings by type of layer: what they lack is taken from the top level once a type that is not default has
 * been read (PreTrainedConfig.standardize_rope_params, which such types call), and full layers come first. */
static bool takes_top(const struct settings *s) {
    struct moe_json_value all = moe_json_get(s->config, "rope_parameters");
    return is_scaled(s->rope) || is_scaled(moe_json_get(all, "full_attention"));
}

/* The part of a head that is rotated, by default. */
static moe_status read_partial(double *out, const struct settings *s, bool plain,
                               const struct moe_rope_defaults *defaults, moe_error *err) {
    const struct moe_rope_family *f = defaults->family;
    double absent = defaults->absent.partial;
    *out = absent > 0 && (plain || !defaults->member) ? absent : 1;
    /* other families ignore the key for the default type */
    if (f->ignores_partial || (plain && absent == 0)) return MOE_OK;
    struct moe_json_value v = moe_json_get(s->rope, "partial_rotary_factor"),
                          width = moe_json_get(s->config, "rotary_dim");
    if (!v.node && (!defaults->member || takes_top(s))) v = moe_json_get(s->config, "partial_rotary_factor");
    if (!v.node && f->reads_width && width.node) {
        MOE_TRY(read_required(out, width, err));
        *out /= (double)defaults->head_dim;
        v = width;
    } else {
        MOE_TRY(read_positive(out, v, *out, err));
    }
    if (*out > 1) return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: more than a head", s->config.doc->file, v.path);
    return MOE_OK;
}

static moe_status read_width(struct settings *s, bool plain, const struct moe_rope_defaults *defaults,
                             moe_error *err) {
    double partial;
    MOE_TRY(read_partial(&partial, s, plain, defaults, err));
    s->dim = (size_t)((double)defaults->head_dim * partial);
    if (s->dim < 2 || s->dim % 2)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                        "%s: head_dim: RoPE rotates pairs, %zu dimensions do not divide into them",
                        s->config.doc->file, s->dim);
    return MOE_OK;
}

static moe_status read_theta(struct settings *s, const struct moe_rope_defaults *defaults, moe_error *err) {
    struct moe_json_value v = moe_json_get(s->rope, "rope_theta");
    if (defaults->member && !v.node && takes_top(s)) {
        struct moe_json_value top = moe_json_get(s->config, "rope_theta");
        if (top.node) v = top;
    }
    if (defaults->member) return read_required(&s->theta, v, err);
    if (!v.node) {
        MOE_TRY(moe_spec_no_null(s->config, "rope_theta", "a number", err));
        v = moe_json_get(s->config, "rope_theta");
    }
    MOE_TRY(read_positive(&s->theta, v, defaults->absent.theta, err));
    if (defaults->forced_theta > 0) s->theta = defaults->forced_theta;
    return MOE_OK;
}

static moe_status read_settings(struct settings *s, const char **type,
                                const struct moe_rope_defaults *defaults, moe_error *err) {
    struct moe_json_value v = moe_json_get(s->rope, "rope_type");
    if (!v.node) v = moe_json_get(s->rope, "type");
    *type = "default";
    if (v.node) MOE_TRY(moe_json_string(type, v, err));
    MOE_TRY(read_theta(s, defaults, err));
    MOE_TRY(read_width(s, !strcmp(*type, "default"), defaults, err));

    s->max_positions = s->original = defaults->max_positions;
    /* the key of the top level goes first, but not for PhimoeConfig (whose mscale it is), which overwrites it
     * with that of the settings, nor where settings are by type of layer */
    bool top = !defaults->family->mscale && !defaults->member;
    v = moe_json_get(s->config, "original_max_position_embeddings");
    if (!v.node || !top) v = moe_json_get(s->rope, "original_max_position_embeddings");
    int64_t original = (int64_t)s->original;
    if (v.node) MOE_TRY(moe_json_int(&original, v, 1, INT32_MAX, err));
    s->original = (size_t)original;
    return MOE_OK;
}

/* Static NTK-aware scaling (transformers: compute_ntk_alpha_rope_parameters): type dynamic, if there is an
 * alpha, stretches theta for every length. */
static moe_status read_alpha(struct settings *s, const char **type, const struct moe_rope_defaults *defaults,
                             moe_error *err) {
    struct moe_json_value v = moe_json_get(s->rope, "alpha");
    double alpha = 0, dim = (double)s->dim;
    if (!defaults->family->reads_alpha || strcmp(*type, "dynamic") || !v.node) return MOE_OK;
    MOE_TRY(moe_json_number(&alpha, v, err));
    if (alpha == 0) return MOE_OK;
    MOE_TRY(read_required(&alpha, v, err));
    if (s->dim == 2)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s needs a head_dim above 2", v.doc->file, v.path);
    s->theta *= pow(alpha, dim / (dim - 2));
    *type = "default";
    return MOE_OK;
}

/* Mistral 4's growth of queries: over the settings' original length, which PreTrainedConfig fills in for
 * types that need it themselves. */
static moe_status read_growth(struct moe_rope_spec *out, const struct settings *s, const char *type,
                              moe_error *err) {
    double factor;
    struct moe_json_value original = moe_json_get(s->rope, "original_max_position_embeddings");
    bool is_filled = !strcmp(type, "yarn") || !strcmp(type, "llama3") || !strcmp(type, "longrope");
    if (!strcmp(type, "default"))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                        "%s: %s: rope type \"default\" is not supported, only scaled ones",
                        s->config.doc->file, s->rope.path);
    if (!is_filled && !original.node)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: missing", s->config.doc->file, original.path);
    MOE_TRY(read_required(&factor, moe_json_get(s->rope, "llama_4_scaling_beta"), err));
    out->growth_factor = (float)factor;
    out->growth_length = (float)s->original;
    return MOE_OK;
}

/* The factor, where the type has one; yarn and longrope may leave it out. */
static moe_status read_factor(struct settings *s, const char *type, moe_error *err) {
    struct moe_json_value v = moe_json_get(s->rope, "factor");
    if (!s->original)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: max_position_embeddings: missing, rope type %s needs it",
                        s->config.doc->file, type);
    if (!v.node && (!strcmp(type, "yarn") || !strcmp(type, "longrope"))) {
        s->factor = (double)s->max_positions / (double)s->original;
        return MOE_OK;
    }
    return read_required(&s->factor, v, err);
}

static moe_status fill(struct moe_rope_spec *out, const struct settings *s, const char *type,
                       moe_error *err) {
    if (!strcmp(type, "default"))
        fill_default(out->inv_freq, s);
    else if (!strcmp(type, "linear"))
        fill_linear(out->inv_freq, s);
    else if (!strcmp(type, "dynamic"))
        return fill_dynamic(out, s, err);
    else if (!strcmp(type, "llama3"))
        return fill_llama3(out->inv_freq, s, err);
    else if (!strcmp(type, "yarn"))
        return fill_yarn(out, s, err);
    else if (!strcmp(type, "longrope"))
        return fill_longrope(out, s, err);
    else
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: rope type \"%s\" is not supported",
                        s->config.doc->file, s->rope.path, type);
    return MOE_OK;
}

static moe_status check_finite(const struct moe_rope_spec *rope, const struct settings *s, moe_error *err) {
    for (size_t t = 0; t < rope->n_pairs; t++)
        if (!isfinite(rope->attention) || !isfinite(rope->inv_freq[t]) ||
            (rope->long_inv_freq && !isfinite(rope->long_inv_freq[t])))
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: frequencies are not finite", s->config.doc->file,
                            s->rope.node ? s->rope.path : "rope_theta");
    return MOE_OK;
}

static moe_status read(struct moe_rope_spec *out, struct settings *s,
                       const struct moe_rope_defaults *defaults, moe_error *err) {
    const char *type;
    MOE_TRY(read_settings(s, &type, defaults, err));
    MOE_TRY(read_alpha(s, &type, defaults, err));
    bool plain = !strcmp(type, "default");
    if (!plain) MOE_TRY(read_factor(s, type, err));
    out->theta = (float)s->theta;
    out->n_pairs = s->dim / 2;
    out->inv_freq = calloc(out->n_pairs, sizeof *out->inv_freq);
    if (!out->inv_freq) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(fill(out, s, type, err));
    if (!plain) MOE_TRY(read_score_scale(&out->score_scale, s, err));
    if (!plain && defaults->family->mscale) MOE_TRY(read_mscale(out, s, err));
    if (defaults->reads_growth) MOE_TRY(read_growth(out, s, type, err));
    return check_finite(out, s, err);
}

moe_status moe_rope_spec_read(struct moe_rope_spec *out, struct moe_json_value config,
                              const struct moe_rope_defaults *defaults, moe_error *err) {
    struct settings s = {.config = config, .by_type = defaults->member};
    struct moe_json absent = {0};
    struct moe_json_value value = {0};
    const char *settings = defaults->absent.settings;
    *out = (struct moe_rope_spec){.attention = 1, .score_scale = 1};
    if (settings) {
        MOE_TRY(moe_json_parse(&absent, config.doc->file, settings, strlen(settings), err));
        value = moe_json_root(&absent);
    }
    moe_status status = find_settings(&s, value, defaults, err);
    if (status == MOE_OK) status = read(out, &s, defaults, err);
    if (settings) moe_json_close(&absent);
    if (status != MOE_OK) moe_rope_spec_free(out);
    return status;
}

float moe_rope_frequencies(float *inv_freq, const struct moe_rope_spec *rope, size_t length) {
    bool is_long = rope->long_after && length > rope->long_after;
    const float *fixed = is_long && rope->long_inv_freq ? rope->long_inv_freq : rope->inv_freq;
    if (!rope->dynamic_after || length <= rope->dynamic_after) {
        memcpy(inv_freq, fixed, rope->n_pairs * sizeof *inv_freq);
        return is_long ? rope->long_attention : rope->attention;
    }
    /* theta grows with the length (NTK-aware scaling); every step in fp32, as on torch's scalar tensors */
    size_t dim = 2 * rope->n_pairs;
    float stretch = rope->factor * (float)length / (float)rope->dynamic_after - (rope->factor - 1);
    float theta = rope->theta * (float)pow((double)stretch, (double)(float)((double)dim / (double)(dim - 2)));
    for (size_t t = 0; t < rope->n_pairs; t++) inv_freq[t] = 1.0f / power_of(theta, t, dim);
    return rope->attention;
}

void moe_rope_spec_free(struct moe_rope_spec *rope) {
    free(rope->inv_freq);
    free(rope->long_inv_freq);
    rope->inv_freq = rope->long_inv_freq = NULL;
}
