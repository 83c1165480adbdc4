/* Which layers rotate, and by which frequencies. */
#include <math.h>
#include <stdlib.h>

#include "models/spec_read.h"

static struct moe_rope_defaults defaults_of(const struct moe_spec *s, const struct moe_rope_default *absent) {
    const struct moe_rope_family *f = &s->family->rope;
    bool latent = s->family->attention == MOE_ATTENTION_LATENT;
    return (struct moe_rope_defaults){.absent = *absent,
                                      .family = f,
                                      .reads_growth = s->family->growth == MOE_GROWTH_ALL,
                                      .head_dim = latent ? s->latent.rope_dim : s->head_dim,
                                      .max_positions = s->max_positions};
}

static moe_status make_ropes(struct moe_spec *s, size_t n, moe_error *err) {
    s->ropes = calloc(n, sizeof *s->ropes);
    if (!s->ropes) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    s->n_ropes = n;
    return MOE_OK;
}

/* One for all layers that rotate. */
static moe_status read_one(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_rope_defaults defaults = defaults_of(s, &s->family->rope.absent);
    MOE_TRY(make_ropes(s, 1, err));
    return moe_rope_spec_read(&s->ropes[0], config, &defaults, err);
}

static moe_status read_sliding_or_dense(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_int_key period = {"prefix_dense_sliding_window_pattern", 1};
    size_t n;
    MOE_TRY(moe_spec_size(&n, config, period, MOE_MAX_LAYERS, err));
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].rope = s->layers[l].slides || (n == 1 && s->layers[l].dense) ? 0 : MOE_NO_ROPE;
    return MOE_OK;
}

static moe_status read_by_type(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    struct moe_rope_defaults full = defaults_of(s, &s->family->rope.absent),
                             sliding = defaults_of(s, &s->family->rope.sliding);
    bool slides = false, all_slide = true;
    full.member = "full_attention";
    sliding.member = "sliding_attention";
    for (size_t l = 0; l < s->n_layers; l++) {
        s->layers[l].rope = s->layers[l].slides;
        slides |= s->layers[l].slides;
        all_slide &= s->layers[l].slides;
    }
    MOE_TRY(make_ropes(s, 2, err));
    if (!all_slide) MOE_TRY(moe_rope_spec_read(&s->ropes[0], config, &full, err));
    return slides ? moe_rope_spec_read(&s->ropes[1], config, &sliding, err) : MOE_OK;
}

/* The thetas that differ, in order of their first layer. */
static moe_status read_by_theta(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    struct moe_json_value list, v;
    MOE_TRY(moe_spec_list(&list, config, "layer_rope_theta", s->n_layers, err));
    if (!list.node) return read_one(s, config, err);
    MOE_TRY(make_ropes(s, s->n_layers, err));
    struct moe_json_iterator it = {0};
    size_t n = 0;
    for (size_t l = 0; moe_json_next(&it, list, NULL, &v); l++) {
        struct moe_rope_defaults defaults = defaults_of(s, &s->family->rope.absent);
        MOE_TRY(moe_json_number(&defaults.forced_theta, v, err));
        float theta = (float)defaults.forced_theta;
        if (!isfinite(theta) || (defaults.forced_theta != 0 && theta <= 0))
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected 0 or a positive number", v.doc->file,
                            v.path);
        s->layers[l].rope = MOE_NO_ROPE;
        if (defaults.forced_theta == 0) continue;
        for (size_t i = 0; i < n; i++)
            if (s->ropes[i].theta == theta) s->layers[l].rope = i;
        if (s->layers[l].rope != MOE_NO_ROPE) continue;
        MOE_TRY(moe_rope_spec_read(&s->ropes[n], config, &defaults, err));
        s->layers[l].rope = n++;
    }
    s->n_ropes = n;
    return MOE_OK;
}

moe_status moe_spec_ropes(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_rope_family *f = &s->family->rope;
    MOE_TRY(moe_spec_bool(&s->rope_interleaved, config, f->interleaved, err));
    switch (f->layers) {
    case MOE_ROPE_ALL:
    case MOE_ROPE_LISTED: /* by moe_spec_layers */
        break;
    case MOE_ROPE_SLIDING:
        for (size_t l = 0; l < s->n_layers; l++) s->layers[l].rope = s->layers[l].slides ? 0 : MOE_NO_ROPE;
        break;
    case MOE_ROPE_SLIDING_OR_DENSE:
        MOE_TRY(read_sliding_or_dense(s, config, err));
        break;
    case MOE_ROPE_BY_TYPE:
        return read_by_type(s, config, err);
    case MOE_ROPE_BY_THETA:
        return read_by_theta(s, config, err);
    }
    return read_one(s, config, err);
}
