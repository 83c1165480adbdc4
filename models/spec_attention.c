/* Heads, their widths, biases and RoPE. */
#include <math.h>

#include "models/spec_read.h"

static moe_status read_grouped(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    const char *file = config.doc->file;
    struct moe_int_key kv = f->n_kv_heads;
    bool null = moe_json_has(config, kv.key) && !moe_json_get(config, kv.key).node;
    if (null || (kv.absent == MOE_AS_MANY_AS_HEADS && !moe_json_has(config, kv.key)))
        s->n_kv_heads = s->n_heads;
    else
        MOE_TRY(moe_spec_size(&s->n_kv_heads, config, kv, MOE_MAX_SIZE, err));
    if (s->n_heads % s->n_kv_heads)
        return MOE_FAIL(err, MOE_E_FORMAT,
                        "%s: num_key_value_heads: %zu does not divide num_attention_heads %zu", file,
                        s->n_kv_heads, s->n_heads);
    if (moe_json_get(config, "head_dim").node || (f->head_dim && !moe_json_has(config, "head_dim"))) {
        return moe_spec_size(&s->head_dim, config, (struct moe_int_key){"head_dim", f->head_dim},
                             MOE_MAX_SIZE, err);
    }
    if (s->hidden_size % s->n_heads)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: num_attention_heads: %zu does not divide hidden_size %zu",
                        file, s->n_heads, s->hidden_size);
    s->head_dim = s->hidden_size / s->n_heads;
    return MOE_OK;
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
    if (!moe_json_has(config, "q_lora_rank") || moe_json_get(config, "q_lora_rank").node)
        MOE_TRY(moe_spec_size(&l->q_rank, config, (struct moe_int_key){"q_lora_rank", f->q_lora_rank},
                              MOE_MAX_SIZE, err));
    s->n_kv_heads = 1;
    s->head_dim = l->nope_dim + l->rope_dim;
    return MOE_OK;
}

static moe_status read_rope(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    bool latent = f->attention == MOE_ATTENTION_LATENT;
    const struct moe_rope_defaults defaults = {.theta = f->rope_theta,
                                               .partial = f->rope_partial,
                                               .settings = f->rope_absent,
                                               .mscale = f->rope_mscale,
                                               .head_dim = latent ? s->latent.rope_dim : s->head_dim,
                                               .max_positions = s->max_positions};
    MOE_TRY(moe_rope_spec_read(&s->rope, config, &defaults, err));
    s->rope_interleaved = f->rope_pairs == MOE_ROPE_INTERLEAVED;
    if (f->rope_pairs == MOE_ROPE_BY_KEY)
        MOE_TRY(
            moe_spec_bool(&s->rope_interleaved, config, (struct moe_bool_key){"rope_interleave", true}, err));
    double scale = 1 / sqrt((double)s->head_dim);
    if (latent) scale *= s->rope.score_scale;
    s->attention_scale = (float)scale;
    return MOE_OK;
}

moe_status moe_spec_attention(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    MOE_TRY(moe_spec_size(&s->n_heads, config, (struct moe_int_key){"num_attention_heads", 0}, MOE_MAX_SIZE,
                          err));
    if (f->attention == MOE_ATTENTION_LATENT)
        MOE_TRY(read_latent(s, config, err));
    else
        MOE_TRY(read_grouped(s, config, err));
    MOE_TRY(moe_spec_bool(&s->bias_qkv, config, f->bias_qkv, err));
    MOE_TRY(moe_spec_bool(&s->bias_o, config, f->bias_o, err));
    if (f->clip_qkv) MOE_TRY(moe_spec_real(&s->clip_qkv, config, (struct moe_real_key){"clip_qkv", 0}, err));
    s->qk_norm = f->qk_norm;
    if (f->qk_norm == MOE_QK_NORM_BY_KEY) {
        bool used;
        MOE_TRY(moe_spec_bool(&used, config, (struct moe_bool_key){"use_qk_norm", false}, err));
        s->qk_norm = used ? MOE_QK_NORM_PER_HEAD : MOE_QK_NORM_NONE;
    }
    return read_rope(s, config, err);
}
