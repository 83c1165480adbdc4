/* The plan of each layer: dense or MoE, its window. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "models/spec_read.h"

static moe_status read_dense_by_step(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    size_t step;
    MOE_TRY(
        moe_spec_size(&step, config, (struct moe_int_key){"decoder_sparse_step", 1}, MOE_MAX_LAYERS, err));
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

static moe_status read_dense_first(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    size_t first;
    MOE_TRY(moe_spec_count(&first, config,
                           (struct moe_int_key){"first_k_dense_replace", s->family->n_dense_first}, INT32_MAX,
                           err));
    for (size_t l = 0; l < s->n_layers; l++) s->layers[l].dense = l < first;
    return MOE_OK;
}

static moe_status read_dense_interval(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    size_t start, step;
    int64_t end = -1;
    struct moe_json_value v = moe_json_get(config, "moe_layer_end_index");
    MOE_TRY(moe_spec_count(&start, config, (struct moe_int_key){"moe_layer_start_index", 1}, INT32_MAX, err));
    MOE_TRY(moe_spec_size(&step, config, (struct moe_int_key){"moe_layer_interval", 1}, MOE_MAX_LAYERS, err));
    if (v.node) MOE_TRY(moe_json_int(&end, v, -1, INT32_MAX, err));
    size_t last = end < 0 ? s->n_layers - 1 : (size_t)end;
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].dense = l < start || l > last || (l + 1) % step != 0;
    return MOE_OK;
}

static moe_status read_dense(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    switch (s->family->dense) {
    case MOE_DENSE_NEVER:
        break;
    case MOE_DENSE_BY_STEP:
        return read_dense_by_step(s, config, err);
    case MOE_DENSE_FIRST:
        return read_dense_first(s, config, err);
    case MOE_DENSE_INTERVAL:
        return read_dense_interval(s, config, err);
    }
    return MOE_OK;
}

/* Which layers slide by the family's rule, before layer_types has its say: of those in [from, to) every
 * step-th. */
static moe_status mark_sliding(bool *sliding, const struct moe_spec *s, struct moe_json_value config,
                               moe_error *err) {
    enum moe_window window = s->family->window;
    bool used = false, number = moe_json_get(config, "sliding_window").node;
    size_t from = 0, to = s->n_layers, step = 1;
    switch (window) {
    case MOE_WINDOW_NEVER:
        break;
    case MOE_WINDOW_NON_NULL:
        used = number;
        break;
    case MOE_WINDOW_IF_USED: /* a null window is none; an absent one the default */
        MOE_TRY(moe_spec_bool(&used, config, (struct moe_bool_key){"use_sliding_window", false}, err));
        used = used && (number || !moe_json_has(config, "sliding_window"));
        break;
    case MOE_WINDOW_EVEN_BELOW:
        MOE_TRY(moe_spec_bool(&used, config, (struct moe_bool_key){"use_sliding_window", false}, err));
        MOE_TRY(moe_spec_count(&to, config, (struct moe_int_key){"max_window_layers", 28}, INT32_MAX, err));
        step = 2;
        break;
    case MOE_WINDOW_FROM_LAYER:
        used = number || !moe_json_has(config, "sliding_window");
        MOE_TRY(moe_spec_count(&from, config, (struct moe_int_key){"max_window_layers", 62}, INT32_MAX, err));
        break;
    case MOE_WINDOW_EVEN:
        used = true;
        step = 2;
        break;
    }
    for (size_t l = 0; l < s->n_layers; l++) sliding[l] = used && l >= from && l < to && l % step == 0;
    return MOE_OK;
}

static bool reads_layer_types(enum moe_window window) {
    return window == MOE_WINDOW_EVEN_BELOW || window == MOE_WINDOW_FROM_LAYER || window == MOE_WINDOW_EVEN;
}

/* layer_types, where the family reads it, overrides the derived pattern. */
static moe_status read_layer_types(bool *sliding, const struct moe_spec *s, struct moe_json_value config,
                                   moe_error *err) {
    struct moe_json_value list = moe_json_get(config, "layer_types"), v;
    if (!reads_layer_types(s->family->window) || !list.node) return MOE_OK;
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
    const struct moe_int_key size = {"sliding_window", s->family->window_size};
    MOE_TRY(mark_sliding(sliding, s, config, err));
    MOE_TRY(read_layer_types(sliding, s, config, err));
    for (size_t l = 0; l < s->n_layers; l++)
        if (sliding[l]) MOE_TRY(moe_spec_size(&s->layers[l].window, config, size, INT32_MAX, err));
    return MOE_OK;
}

moe_status moe_spec_layers(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    assert(s->n_layers > 0);
    MOE_TRY(read_dense(s, config, err));
    bool *sliding = calloc(s->n_layers, sizeof *sliding);
    if (!sliding) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    moe_status status = read_windows(s, config, sliding, err);
    free(sliding);
    return status;
}
