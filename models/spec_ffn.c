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

static moe_status read_router(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_router_family *f = &s->family->router;
    MOE_TRY(moe_spec_size(&s->n_experts, config, s->family->n_experts, MOE_MAX_SIZE, err));
    MOE_TRY(moe_spec_size(&s->top_k, config, s->family->top_k, MOE_MAX_SIZE, err));
    if (f->score == MOE_SCORE_SPARSEMIXER) s->top_k = 2; /* whatever config.json says */
    if (s->top_k > s->n_experts)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %zu is more than the %zu experts", config.doc->file,
                        s->family->top_k.key, s->top_k, s->n_experts);
    MOE_TRY(read_groups(s, config, err));
    MOE_TRY(moe_spec_bool(&s->router.renorm, config, f->renorm, err));
    MOE_TRY(moe_spec_real_or_0(&s->router.sum_min, config, f->sum_min, err));
    s->router.sum_added = (float)f->sum_added;
    struct moe_real_key scale = f->scale;
    if (scale.absent <= 0) scale.absent = 1;
    MOE_TRY(moe_spec_real(&s->router.scale, config, scale, err));
    if (f->score == MOE_SCORE_SPARSEMIXER) {
        float noise;
        MOE_TRY(moe_spec_real_or_0(&noise, config, (struct moe_real_key){"router_jitter_noise", 0.01}, err));
        s->router.closeness = 2 * noise;
    }
    return MOE_OK;
}

static moe_status read_shared(struct moe_spec *s, struct moe_json_value config, moe_error *err) {
    const struct moe_family *f = s->family;
    if (f->shared == MOE_SHARED_NONE) return MOE_OK;
    if (!f->n_shared.key) return moe_spec_size(&s->shared_width, config, f->shared_width, MOE_MAX_SIZE, err);
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
