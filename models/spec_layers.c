/* The plan of each layer: its FFN, and what its attention sees. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "models/spec_read.h"

static moe_status read_dense_by_step(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    size_t step;
    MOE_TRY(
        moe_spec_size(&step, config, (struct moe_int_key){"decoder_sparse_step", 1}, MOE_MAX_LAYERS, err));
    struct moe_json_value list = moe_json_get(config, "mlp_only_layers"), v;
    if (list.node && !moe_json_is_array(list))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: mlp_only_layers: expected an array", config.doc->file);
    size_t first = list.node ? 0 : (size_t)s->family->dense_first.absent;
    for (size_t l = 0; l < s->n_layers; l++) s->layers[l].dense = (l + 1) % step != 0 || l < first;
    struct moe_json_iterator it = {0};
    while (moe_json_next(&it, list, NULL, &v)) {
        int64_t l;
        MOE_TRY(moe_json_int(&l, v, 0, INT32_MAX, err));
        if ((size_t)l < s->n_layers) s->layers[l].dense = true;
    }
    return MOE_OK;
}

static moe_status read_dense_first(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    size_t first, step = 1;
    MOE_TRY(moe_spec_count(&first, config, s->family->dense_first, INT32_MAX, err));
    if (s->family->dense == MOE_DENSE_FIRST_AND_STEP)
        MOE_TRY(moe_spec_size(&step, config, (struct moe_int_key){"moe_layer_freq", 1}, MOE_MAX_LAYERS, err));
    for (size_t l = 0; l < s->n_layers; l++) s->layers[l].dense = l < first || l % step != 0;
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

static moe_status read_moe_layers(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_int_key interleave = {"interleave_moe_layer_step", 1};
    struct moe_json_value list = moe_json_get(config, "moe_layers"), v;
    size_t step;
    MOE_TRY(moe_spec_size(&step, config, interleave, MOE_MAX_LAYERS, err));
    for (size_t l = 0; l < s->n_layers; l++) s->layers[l].dense = list.node || (l + 1) % step != 0;
    if (list.node && !moe_json_is_array(list))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: moe_layers: expected an array", config.doc->file);
    struct moe_json_iterator it = {0};
    while (moe_json_next(&it, list, NULL, &v)) {
        int64_t l;
        MOE_TRY(moe_json_int(&l, v, 0, INT32_MAX, err));
        if ((size_t)l < s->n_layers) s->layers[l].dense = false;
    }
    return MOE_OK;
}

/* mlp_layer_types, where the family reads it, takes the place of the rule. */
static moe_status read_mlp_types(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    struct moe_json_value list, v;
    if (!s->family->reads_mlp_layer_types) return MOE_OK;
    MOE_TRY(moe_spec_list(&list, config, "mlp_layer_types", s->n_layers, err));
    struct moe_json_iterator it = {0};
    for (size_t l = 0; moe_json_next(&it, list, NULL, &v); l++) {
        const char *type;
        MOE_TRY(moe_json_string(&type, v, err));
        s->layers[l].dense = !strcmp(type, "dense");
        if (!s->layers[l].dense && strcmp(type, "sparse"))
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not supported", config.doc->file,
                            v.path, type);
    }
    return MOE_OK;
}

static moe_status read_dense(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    switch (s->family->dense) {
    case MOE_DENSE_NEVER:
        break;
    case MOE_DENSE_BY_STEP:
        MOE_TRY(read_dense_by_step(s, config, err));
        break;
    case MOE_DENSE_FIRST:
    case MOE_DENSE_FIRST_AND_STEP:
        MOE_TRY(read_dense_first(s, config, err));
        break;
    case MOE_DENSE_INTERVAL:
        MOE_TRY(read_dense_interval(s, config, err));
        break;
    case MOE_DENSE_LISTED:
        MOE_TRY(read_moe_layers(s, config, err));
        break;
    case MOE_DENSE_ALSO:
        for (size_t l = 0; l < s->n_layers; l++) s->layers[l].dense = true;
        break;
    }
    MOE_TRY(read_mlp_types(s, config, err));
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].routed = !s->layers[l].dense || (s->family->dense == MOE_DENSE_ALSO && l % 2 == 0);
    return MOE_OK;
}

/* Layers from `from` on, of which every step-th is full, `at` the first. */
static void mark_period(struct moe_spec *s, size_t from, size_t to, size_t step, int64_t at) {
    size_t shift = at < 0 ? step - (size_t)-at % step : (size_t)at % step;
    for (size_t l = from; l < to; l++) s->layers[l].slides = (l - from + step - shift) % step != 0;
}

static moe_status mark_by_period(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_window_family *f = &s->family->window;
    size_t step;
    if (moe_json_get(config, "layer_types").node) return MOE_OK; /* real files then have other periods */
    MOE_TRY(moe_spec_size(&step, config, f->period, MOE_MAX_LAYERS, err));
    mark_period(s, 0, s->n_layers, step, f->full_at);
    for (size_t l = 0; l < s->n_layers && l < (size_t)f->n_full; l++) s->layers[l].slides = false;
    if (f->last_full) s->layers[s->n_layers - 1].slides = false;
    return MOE_OK;
}

static const struct moe_int_key prefix_period = {"prefix_dense_sliding_window_pattern", 1};

static moe_status mark_after_dense(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_window_family *f = &s->family->window;
    size_t first, before, after;
    MOE_TRY(moe_spec_count(&first, config, s->family->dense_first, INT32_MAX, err));
    MOE_TRY(moe_spec_size(&before, config, prefix_period, MOE_MAX_LAYERS, err));
    MOE_TRY(moe_spec_size(&after, config, f->period, MOE_MAX_LAYERS, err));
    if (first > s->n_layers) first = s->n_layers;
    mark_period(s, 0, first, before, f->full_at);
    mark_period(s, first, s->n_layers, after, f->full_at);
    return MOE_OK;
}

/* Which layers slide by the family's rule, before layer_types has its say: of those in [from, to) every
 * step-th. */
static moe_status mark_sliding(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    bool used = false, number = moe_json_get(config, "sliding_window").node;
    size_t from = 0, to = s->n_layers, step = 1;
    switch (s->family->window.rule) {
    case MOE_WINDOW_NEVER:
    case MOE_WINDOW_LISTED:
    case MOE_WINDOW_CHUNKED:
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
    case MOE_WINDOW_PERIOD:
        return mark_by_period(s, config, err);
    case MOE_WINDOW_PERIOD_AFTER_DENSE:
        return mark_after_dense(s, config, err);
    }
    for (size_t l = 0; l < s->n_layers; l++)
        s->layers[l].slides = used && l >= from && l < to && l % step == 0;
    return MOE_OK;
}

/* Layers with RoPE by no_rope_layers, which says the opposite of its name: 1 is with. */
static moe_status mark_rope_listed(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_int_key interval = {"no_rope_layer_interval", 4};
    struct moe_json_value list = moe_json_get(config, "no_rope_layers"), v;
    size_t step;
    MOE_TRY(moe_spec_size(&step, config, interval, MOE_MAX_LAYERS, err));
    for (size_t l = 0; l < s->n_layers; l++) s->layers[l].rope = (l + 1) % step != 0 ? 0 : MOE_NO_ROPE;
    if (moe_json_is_array(list) && !moe_json_size(list)) return MOE_OK; /* as if it were absent */
    MOE_TRY(moe_spec_list(&list, config, "no_rope_layers", s->n_layers, err));
    struct moe_json_iterator it = {0};
    for (size_t l = 0; moe_json_next(&it, list, NULL, &v); l++) {
        int64_t with;
        MOE_TRY(moe_json_int(&with, v, 0, 1, err));
        s->layers[l].rope = with ? 0 : MOE_NO_ROPE;
    }
    return MOE_OK;
}

static moe_status mark_chunked(struct moe_spec *s, struct moe_json_value config, bool *chunked,
                               moe_error *err) {
    bool null =
        moe_json_has(config, "attention_chunk_size") && !moe_json_get(config, "attention_chunk_size").node;
    MOE_TRY(mark_rope_listed(s, config, err));
    for (size_t l = 0; l < s->n_layers; l++) chunked[l] = !null && s->layers[l].rope != MOE_NO_ROPE;
    return MOE_OK;
}

static bool reads_layer_types(enum moe_window rule) {
    return rule != MOE_WINDOW_NEVER && rule != MOE_WINDOW_NON_NULL && rule != MOE_WINDOW_IF_USED;
}

/* layer_types, where the family reads it, takes the place of the rule. */
static moe_status read_layer_types(struct moe_spec *s, struct moe_json_value config, bool *chunked,
                                   moe_error *err) {
    bool may_be_chunked = s->family->window.rule == MOE_WINDOW_CHUNKED;
    struct moe_json_value list, v;
    if (!reads_layer_types(s->family->window.rule)) return MOE_OK;
    MOE_TRY(moe_spec_list(&list, config, "layer_types", s->n_layers, err));
    struct moe_json_iterator it = {0};
    for (size_t l = 0; moe_json_next(&it, list, NULL, &v); l++) {
        const char *type;
        MOE_TRY(moe_json_string(&type, v, err));
        bool slides = !strcmp(type, "sliding_attention"), in_chunks = !strcmp(type, "chunked_attention");
        s->layers[l].slides = slides;
        chunked[l] = in_chunks;
        if (strcmp(type, "full_attention") && (may_be_chunked ? !in_chunks : !slides))
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not supported", config.doc->file,
                            v.path, type);
    }
    return MOE_OK;
}

static moe_status read_window_size(size_t *out, const struct moe_spec *s, struct moe_json_value config,
                                   moe_error *err) {
    const struct moe_window_family *f = &s->family->window;
    if (!f->reads_size_before || !moe_json_get(config, "sliding_window_size").node)
        return moe_spec_size(out, config, (struct moe_int_key){"sliding_window", f->size}, INT32_MAX, err);
    MOE_TRY(moe_spec_count(out, config, (struct moe_int_key){"sliding_window_size", 0}, INT32_MAX - 1, err));
    ++*out;
    return MOE_OK;
}

static moe_status read_windows(struct moe_spec *s, struct moe_json_value config, bool *chunked,
                               moe_error *err) {
    const struct moe_int_key chunk = {"attention_chunk_size", 8192};
    MOE_TRY(mark_sliding(s, config, err));
    if (s->family->window.rule == MOE_WINDOW_CHUNKED) MOE_TRY(mark_chunked(s, config, chunked, err));
    MOE_TRY(read_layer_types(s, config, chunked, err));
    for (size_t l = 0; l < s->n_layers; l++) {
        if (s->layers[l].slides) MOE_TRY(read_window_size(&s->layers[l].window, s, config, err));
        if (chunked[l]) MOE_TRY(moe_spec_size(&s->layers[l].chunk, config, chunk, INT32_MAX, err));
    }
    return MOE_OK;
}

moe_status moe_spec_layers(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    assert(s->n_layers > 0);
    MOE_TRY(read_dense(s, config, err));
    bool *chunked = calloc(s->n_layers, sizeof *chunked);
    if (!chunked) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    moe_status status = read_windows(s, config, chunked, err);
    free(chunked);
    return status;
}
