/* Heads, their widths, biases and factors. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "models/spec_read.h"

static moe_status check_heads(const struct moe_spec *s, const char *file, moe_error *err) {
    for (size_t l = 0; l < s->n_layers; l++) {
        assert(s->layers[l].n_kv_heads > 0);
        if (s->layers[l].n_heads % s->layers[l].n_kv_heads)
            return MOE_FAIL(err, MOE_E_FORMAT,
                            "%s: num_key_value_heads: %zu does not divide num_attention_heads %zu", file,
                            s->layers[l].n_kv_heads, s->layers[l].n_heads);
    }
    return MOE_OK;
}

static moe_status read_n_kv_heads(size_t *out, const struct moe_spec *s, struct moe_json_value config,
                                  moe_error *err) {
    struct moe_int_key kv = s->family->n_kv_heads;
    bool has = moe_spec_has(config, kv.key), null = has && !moe_spec_get(config, kv.key).node;
    *out = s->n_heads;
    if (null || (kv.absent == MOE_AS_MANY_AS_HEADS && !has)) return MOE_OK;
    return moe_spec_size(out, config, kv, MOE_MAX_SIZE, err);
}

/* Those of each layer; *s gets the most. */
static moe_status read_heads(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    struct moe_json_value list = {0}, v;
    MOE_TRY(read_n_kv_heads(&s->n_kv_heads, s, config, err));
    if (f->heads_by_layer) MOE_TRY(moe_spec_list(&list, config, f->heads_by_layer, s->n_layers, err));
    struct moe_json_iterator it = {0};
    size_t n_kv_heads = s->n_kv_heads, most = 0;
    for (size_t l = 0; l < s->n_layers; l++) {
        struct moe_layer_spec *layer = &s->layers[l];
        bool many = layer->slides && f->kv_heads_if_sliding;
        layer->n_heads = s->n_heads;
        layer->n_kv_heads = many ? n_kv_heads * (size_t)f->kv_heads_if_sliding : n_kv_heads;
        if (moe_json_next(&it, list, NULL, &v))
            MOE_TRY(moe_spec_size_of(&layer->n_heads, v, MOE_MAX_SIZE, err));
        if (layer->n_kv_heads > s->n_kv_heads) s->n_kv_heads = layer->n_kv_heads;
        if (layer->n_heads > most) most = layer->n_heads;
    }
    s->n_heads = most;
    return check_heads(s, config.doc->file, err);
}

static moe_status read_grouped(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    size_t n_heads = s->n_heads; /* by num_attention_heads, which may differ from that of every layer */
    MOE_TRY(read_heads(s, config, err));
    if (moe_json_get(config, "head_dim").node || (f->head_dim && !moe_json_has(config, "head_dim"))) {
        MOE_TRY(moe_spec_size(&s->head_dim, config, (struct moe_int_key){"head_dim", f->head_dim},
                              MOE_MAX_SIZE, err));
    } else {
        if (s->hidden_size % n_heads)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: num_attention_heads: %zu does not divide hidden_size %zu",
                            config.doc->file, n_heads, s->hidden_size);
        s->head_dim = s->hidden_size / n_heads;
    }
    s->value_dim = s->head_dim;
    if (!f->value_dim) return MOE_OK;
    return moe_spec_size(&s->value_dim, config, (struct moe_int_key){"v_head_dim", f->value_dim},
                         MOE_MAX_SIZE, err);
}

static void set_latent_scales(struct moe_spec *s) {
    struct moe_latent_spec *l = &s->latent;
    bool rescales = s->family->latent.rescales;
    l->q_scale = rescales && l->q_rank ? (float)sqrt((double)s->hidden_size / (double)l->q_rank) : 1;
    l->kv_scale = rescales ? (float)sqrt((double)s->hidden_size / (double)l->kv_rank) : 1;
}

static moe_status check_rope_width(const struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    int64_t absent = s->family->head_dim ? s->family->head_dim : (int64_t)s->latent.rope_dim;
    size_t width;
    if (!s->family->latent.head_dim_is_rope) return MOE_OK;
    MOE_TRY(moe_spec_size(&width, config, (struct moe_int_key){"head_dim", absent}, MOE_MAX_SIZE, err));
    if (width == s->latent.rope_dim) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: head_dim: %zu is not qk_rope_head_dim %zu", config.doc->file,
                    width, s->latent.rope_dim);
}

static moe_status read_latent(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_latent_family *f = &s->family->latent;
    struct moe_latent_spec *l = &s->latent;
    const struct {
        size_t *out;
        struct moe_int_key key;
    } widths[] = {{&l->kv_rank, {"kv_lora_rank", f->kv_lora_rank}},
                  {&l->nope_dim, {"qk_nope_head_dim", f->qk_nope_head_dim}},
                  {&l->rope_dim, {"qk_rope_head_dim", f->qk_rope_head_dim}},
                  {&l->value_dim, {"v_head_dim", f->v_head_dim}}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        MOE_TRY(moe_spec_size(widths[i].out, config, widths[i].key, MOE_MAX_SIZE, err));
    if (f->always_q_rank || !moe_json_has(config, "q_lora_rank") || moe_json_get(config, "q_lora_rank").node)
        MOE_TRY(moe_spec_size(&l->q_rank, config, (struct moe_int_key){"q_lora_rank", f->q_lora_rank},
                              MOE_MAX_SIZE, err));
    for (size_t i = 0; i < s->n_layers; i++) {
        s->layers[i].n_heads = s->n_heads;
        s->layers[i].n_kv_heads = 1;
    }
    s->n_kv_heads = 1;
    s->head_dim = l->nope_dim + l->rope_dim;
    s->value_dim = l->value_dim;
    set_latent_scales(s);
    return check_rope_width(s, config, err);
}

static moe_status read_qk_norm(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    bool unit = f->qk_norm == MOE_QK_NORM_UNIT, used;
    s->qk_norm = f->qk_norm;
    if (f->qk_norm != MOE_QK_NORM_BY_KEY && !unit) return MOE_OK;
    MOE_TRY(moe_spec_bool(&used, config, (struct moe_bool_key){"use_qk_norm", unit}, err));
    s->qk_norm = used ? unit ? MOE_QK_NORM_UNIT : MOE_QK_NORM_PER_HEAD : MOE_QK_NORM_NONE;
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].unit_norm = s->qk_norm == MOE_QK_NORM_UNIT && s->layers[l].rope != MOE_NO_ROPE;
    return MOE_OK;
}

static moe_status read_gate(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    struct moe_json_value v = moe_json_get(config, "gating");
    const char *name;
    bool per_head = true;
    if (s->family->gate == MOE_GATE_NONE) return MOE_OK;
    s->gate_dim = s->value_dim;
    if (s->family->gate != MOE_GATE_SOFTPLUS) return MOE_OK;
    MOE_TRY(moe_spec_no_null(config, "gating", "a boolean or a string", err));
    if (moe_json_is_string(v)) {
        MOE_TRY(moe_json_string(&name, v, err));
        per_head = !strcmp(name, "per-head");
    } else if (v.node) {
        MOE_TRY(moe_json_bool(&per_head, v, err));
    }
    if (per_head) s->gate_dim = 1;
    return MOE_OK;
}

static moe_status read_scales(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    MOE_TRY(moe_spec_factor(&s->value_scale, config, f->value_scale, err));
    if (f->score_scale.key) return moe_spec_factor(&s->attention_scale, config, f->score_scale, err);
    double scale = 1 / sqrt((double)s->head_dim);
    if (f->attention == MOE_ATTENTION_LATENT) scale *= s->ropes[0].score_scale;
    s->attention_scale = (float)scale;
    return MOE_OK;
}

static moe_status read_growth(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    struct moe_growth_spec *g = &s->growth;
    bool used = true;
    switch (s->family->growth) {
    case MOE_GROWTH_NONE:
        return MOE_OK;
    case MOE_GROWTH_NO_ROPE:
        g->first = 1;
        MOE_TRY(moe_spec_real_or_0(&g->factor, config, (struct moe_real_key){"attn_scale", 0.1}, err));
        MOE_TRY(moe_spec_real(&g->length, config, (struct moe_real_key){"floor_scale", 8192}, err));
        MOE_TRY(moe_spec_switch(&used, config, "attn_temperature_tuning", err));
        break;
    case MOE_GROWTH_ALL:
        g->factor = s->ropes[0].growth_factor;
        g->length = s->ropes[0].growth_length;
        break;
    }
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].grows =
            used && (s->family->growth == MOE_GROWTH_ALL || s->layers[l].rope == MOE_NO_ROPE);
    return MOE_OK;
}

moe_status moe_spec_attention(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    const struct moe_int_key heads = {f->n_heads ? f->n_heads : "num_attention_heads", 0};
    MOE_TRY(moe_spec_size(&s->n_heads, config, heads, MOE_MAX_SIZE, err));
    if (f->attention == MOE_ATTENTION_LATENT)
        MOE_TRY(read_latent(s, config, err));
    else
        MOE_TRY(read_grouped(s, config, err));
    MOE_TRY(moe_spec_bool(&s->bias_qkv, config, f->bias_qkv, err));
    MOE_TRY(moe_spec_bool(&s->bias_o, config, f->bias_o, err));
    MOE_TRY(moe_spec_real(&s->clip_qkv, config, (struct moe_real_key){f->clip_qkv, 0}, err));
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].sinks =
            f->sinks == MOE_SINKS_ALL || (f->sinks == MOE_SINKS_SLIDING && s->layers[l].slides);
    MOE_TRY(moe_spec_ropes(s, config, err));
    MOE_TRY(read_qk_norm(s, config, err));
    MOE_TRY(read_gate(s, config, err));
    MOE_TRY(read_scales(s, config, err));
    return read_growth(s, config, err);
}
