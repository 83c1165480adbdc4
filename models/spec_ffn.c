/* Experts, their router, shared and dense FFNs. */
#include <string.h>

#include "models/spec_read.h"

static moe_status read_groups(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_router_family *f = &s->family->router;
    struct moe_router_spec *r = &s->router;
    const char *file = config.doc->file;
    r->n_groups = r->top_groups = 1;
    if (f->grouping == MOE_GROUPS_NONE) return MOE_OK;
    if (f->grouping == MOE_GROUPS_BY_METHOD) {
        const char *method = "greedy";
        struct moe_json_value v = moe_json_get(config, "topk_method");
        if (v.node) MOE_TRY(moe_json_string(&method, v, err));
        if (!strcmp(method, "greedy")) return MOE_OK;
        if (strcmp(method, "group_limited_greedy"))
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: topk_method \"%s\" is not supported", file, method);
    }
    MOE_TRY(moe_spec_size(&r->n_groups, config, f->n_groups, MOE_MAX_SIZE, err));
    MOE_TRY(moe_spec_size(&r->top_groups, config, f->top_groups, MOE_MAX_SIZE, err));
    if (s->n_experts % r->n_groups)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: n_group: %zu does not divide the %zu experts", file,
                        r->n_groups, s->n_experts);
    size_t size = s->n_experts / r->n_groups;
    if (r->top_groups > r->n_groups)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: topk_group: %zu is more than the %zu groups", file,
                        r->top_groups, r->n_groups);
    if (f->grouping == MOE_GROUPS_TOP_2_SUM && size < 2)
        return MOE_FAIL(err, MOE_E_FORMAT,
                        "%s: n_group: of %zu groups of one expert none has two to be rated by", file,
                        r->n_groups);
    if (s->top_k > r->top_groups * size)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %zu is more than the %zu experts of %zu groups", file,
                        s->family->top_k.key, s->top_k, r->top_groups * size, r->top_groups);
    return MOE_OK;
}

/* One number, or one for each layer where the family says so. */
static moe_status read_top_k(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    struct moe_int_key key = s->family->top_k;
    struct moe_json_value list = moe_spec_get(config, key.key), v;
    bool is_list = s->family->top_k_may_be_list && moe_json_is_array(list);
    if (is_list) {
        struct moe_json_iterator it = {0};
        size_t l = 0;
        MOE_TRY(moe_spec_list(&list, config, key.key, s->n_layers, err));
        for (; moe_json_next(&it, list, NULL, &v); l++)
            MOE_TRY(moe_spec_size_of(&s->layers[l].top_k, v, s->router.n_choices, err));
    } else {
        MOE_TRY(moe_spec_size(&s->top_k, config, key, MOE_MAX_SIZE, err));
    }
    if (s->family->router.score == MOE_SCORE_SPARSEMIXER) s->top_k = 2; /* whatever config.json says */
    for (size_t l = 0; l < s->n_layers; l++) {
        if (!is_list) s->layers[l].top_k = s->top_k;
        if (s->layers[l].top_k > s->top_k) s->top_k = s->layers[l].top_k;
    }
    if (s->top_k > s->router.n_choices)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %zu is more than the %zu experts", config.doc->file,
                        list.path, s->top_k, s->router.n_choices);
    return MOE_OK;
}

static moe_status read_score(struct moe_router_spec *r, const struct moe_router_family *f,
                             struct moe_json_value config, moe_error *err) {
    r->score = f->score;
    if (f->score == MOE_SCORE_BY_KEY) {
        const char *name = "softmax";
        struct moe_json_value v = moe_spec_get(config, "expert_selection_fn");
        if (v.node) MOE_TRY(moe_json_string(&name, v, err));
        r->score = strcmp(name, "sigmoid") ? MOE_SCORE_CHOSEN_SOFTMAX : MOE_SCORE_CHOSEN_SIGMOID;
        if (strcmp(name, "softmax") && strcmp(name, "sigmoid"))
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s \"%s\" is not supported", config.doc->file,
                            v.path, name);
    }
    if (f->score == MOE_SCORE_SPARSEMIXER) {
        float noise;
        MOE_TRY(moe_spec_real_or_0(&noise, config, (struct moe_real_key){"router_jitter_noise", 0.01}, err));
        r->closeness = 2 * noise;
    }
    return moe_spec_real_or_0(&r->soft_cap, config, f->soft_cap, err);
}

/* Whether the weights of the chosen are divided, and by what. */
static moe_status read_renorm(struct moe_router_spec *r, const struct moe_router_family *f,
                              struct moe_json_value config, moe_error *err) {
    r->norm_power = 1;
    r->sum_added = (float)f->sum_added;
    MOE_TRY(moe_spec_real_or_0(&r->sum_min, config, f->sum_min, err));
    if (!f->norm_power) return moe_spec_bool(&r->renorm, config, f->renorm, err);
    r->renorm = !moe_spec_has(config, f->norm_power) || moe_spec_get(config, f->norm_power).node;
    if (!r->renorm) return MOE_OK;
    return moe_spec_real(&r->norm_power, config, (struct moe_real_key){f->norm_power, 1}, err);
}

static moe_status read_router(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_router_family *f = &s->family->router;
    struct moe_router_spec *r = &s->router;
    size_t n_identity = 0;
    MOE_TRY(moe_spec_size(&s->n_experts, config, s->family->n_experts, MOE_MAX_SIZE, err));
    if (f->n_identity.key) MOE_TRY(moe_spec_no_null(config, f->n_identity.key, "an integer", err));
    MOE_TRY(moe_spec_count(&n_identity, config, f->n_identity, MOE_MAX_SIZE, err));
    r->n_choices = s->n_experts + n_identity;
    MOE_TRY(read_top_k(s, config, err));
    MOE_TRY(read_groups(s, config, err));
    MOE_TRY(read_score(r, f, config, err));
    MOE_TRY(read_renorm(r, f, config, err));
    return moe_spec_factor(&r->scale, config, f->scale, err);
}

static moe_status read_combination(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const char *name = "average";
    struct moe_json_value v = moe_spec_get(config, "shared_expert_combination_strategy");
    if (v.node) MOE_TRY(moe_json_string(&name, v, err));
    if (!strcmp(name, "average"))
        s->shared_scale = 0.5f;
    else if (strcmp(name, "sum"))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s \"%s\" is not supported", config.doc->file, v.path,
                        name);
    return MOE_OK;
}

static moe_status read_shared(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    s->shared_scale = 1;
    if (f->shared == MOE_SHARED_NONE) return MOE_OK;
    if (f->shared == MOE_SHARED_AVERAGE) MOE_TRY(read_combination(s, config, err));
    if (!f->n_shared.key)
        return f->shared_width.absent
                   ? moe_spec_size(&s->shared_width, config, f->shared_width, MOE_MAX_SIZE, err)
                   : moe_spec_count(&s->shared_width, config, f->shared_width, MOE_MAX_SIZE, err);
    size_t n;
    MOE_TRY(moe_spec_count(&n, config, f->n_shared, MOE_MAX_SIZE, err));
    s->shared_width = n * s->expert_width;
    if (s->shared_width > MOE_MAX_SIZE)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %zu experts of width %zu are more than %d wide",
                        config.doc->file, f->n_shared.key, n, s->expert_width, MOE_MAX_SIZE);
    return MOE_OK;
}

moe_status moe_spec_ffn(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    MOE_TRY(read_router(s, config, err));
    MOE_TRY(moe_spec_size(&s->expert_width, config, f->expert_width, MOE_MAX_SIZE, err));
    if (f->dense != MOE_DENSE_NEVER)
        MOE_TRY(moe_spec_size(&s->dense_width, config, f->dense_width, MOE_MAX_SIZE, err));
    MOE_TRY(read_shared(s, config, err));
    MOE_TRY(moe_spec_bool(&s->bias_ffn, config, f->bias_ffn, err));
    MOE_TRY(moe_spec_bool(&s->bias_experts, config, f->bias_experts, err));
    if (f->activation == MOE_ACT_SWIGLU_CLAMPED) {
        MOE_TRY(moe_spec_real(&s->swiglu_alpha, config, (struct moe_real_key){"swiglu_alpha", 1.702}, err));
        MOE_TRY(moe_spec_real(&s->swiglu_limit, config, (struct moe_real_key){"swiglu_limit", 7}, err));
    }
    return MOE_OK;
}
