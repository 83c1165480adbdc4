#include "models/spec.h"

#include <stdlib.h>
#include <string.h>

#include "models/spec_read.h"

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
    MOE_TRY(moe_spec_no_null(config, "hidden_act", "a string", err));
    if (v.node) MOE_TRY(moe_json_string(&act, v, err));
    if (strcmp(act, "silu") && strcmp(act, "swish"))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: hidden_act \"%s\" is not supported, only silu",
                        config.doc->file, act);
    return MOE_OK;
}

static moe_status resolve(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    MOE_TRY(read_family(s, config, err));
    const struct moe_family *f = s->family;
    MOE_TRY(
        moe_spec_size(&s->hidden_size, config, (struct moe_int_key){"hidden_size", 0}, MOE_MAX_SIZE, err));
    MOE_TRY(moe_spec_size(&s->n_layers, config, (struct moe_int_key){"num_hidden_layers", 0}, MOE_MAX_LAYERS,
                          err));
    MOE_TRY(moe_spec_size(&s->vocab_size, config, (struct moe_int_key){"vocab_size", 0}, MOE_MAX_VOCAB, err));
    if (moe_json_has(config, "max_position_embeddings"))
        MOE_TRY(moe_spec_size(&s->max_positions, config, (struct moe_int_key){"max_position_embeddings", 0},
                              INT32_MAX, err));
    MOE_TRY(moe_spec_unused(config, "pad_token_id", err));
    MOE_TRY(moe_spec_unused(config, "sliding_window", err));
    MOE_TRY(moe_spec_unused(config, "max_window_layers", err));
    MOE_TRY(moe_spec_real(&s->norm_eps, config, (struct moe_real_key){"rms_norm_eps", f->norm_eps}, err));
    MOE_TRY(moe_spec_bool(&s->tied, config, f->tied, err));
    MOE_TRY(moe_spec_bool(&s->bias_head, config, f->bias_head, err));
    MOE_TRY(moe_spec_attention(s, config, err));
    MOE_TRY(moe_spec_ffn(s, config, err));
    s->layers = calloc(s->n_layers, sizeof *s->layers);
    if (!s->layers) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    return moe_spec_layers(s, config, err);
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
