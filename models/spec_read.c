#include "models/spec_read.h"

#include <math.h>
#include <string.h>

/* Names for one thing: transformers 5 writes these for what a family's own key says. */
static const char *const n_experts_names[] = {"num_experts", "num_local_experts", "n_routed_experts",
                                              "moe_num_experts"};
static const char *const top_k_names[] = {"num_experts_per_tok", "moe_k"};

static const char *find_name(struct moe_json_value config, const char *key, const char *const *names,
                             size_t n) {
    bool known = false;
    for (size_t i = 0; i < n; i++) known |= !strcmp(key, names[i]);
    for (size_t i = 0; known && i < n; i++)
        if (moe_json_has(config, names[i])) return names[i];
    return key;
}

/* The key that config.json uses: the family's own, else one that means the same. */
static const char *name_in_use(struct moe_json_value config, const char *key) {
    if (moe_json_has(config, key)) return key;
    const char *name =
        find_name(config, key, n_experts_names, sizeof n_experts_names / sizeof *n_experts_names);
    return strcmp(name, key) ? name
                             : find_name(config, key, top_k_names, sizeof top_k_names / sizeof *top_k_names);
}

moe_status moe_spec_no_null(struct moe_json_value config, const char *key, const char *expected,
                            moe_error *err) {
    if (moe_json_get(config, key).node || !moe_json_has(config, key)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected %s, found null", config.doc->file, key, expected);
}

moe_status moe_spec_unused(struct moe_json_value config, const char *key, moe_error *err) {
    int64_t n;
    struct moe_json_value v = moe_json_get(config, key);
    return v.node ? moe_json_int(&n, v, -MOE_JSON_MAX_INT, MOE_JSON_MAX_INT, err) : MOE_OK;
}

static moe_status read_int(size_t *out, struct moe_json_value v, int64_t min, int64_t max, moe_error *err) {
    int64_t n;
    MOE_TRY(moe_json_int(&n, v, min, max, err));
    *out = (size_t)n;
    return MOE_OK;
}

moe_status moe_spec_size(size_t *out, struct moe_json_value config, struct moe_int_key k, int64_t max,
                         moe_error *err) {
    const char *key = name_in_use(config, k.key);
    if (moe_json_has(config, key) || k.absent <= 0)
        return read_int(out, moe_json_get(config, key), 1, max, err);
    *out = (size_t)k.absent;
    return MOE_OK;
}

moe_status moe_spec_count(size_t *out, struct moe_json_value config, struct moe_int_key k, int64_t max,
                          moe_error *err) {
    struct moe_json_value v = moe_json_get(config, k.key);
    *out = (size_t)k.absent;
    return v.node ? read_int(out, v, 0, max, err) : MOE_OK;
}

moe_status moe_spec_bool(bool *out, struct moe_json_value config, struct moe_bool_key k, moe_error *err) {
    *out = k.absent;
    if (!k.key || !moe_json_has(config, k.key)) return MOE_OK;
    return moe_json_bool(out, moe_json_get(config, k.key), err);
}

static moe_status read_real(float *out, struct moe_json_value config, struct moe_real_key k, bool zero,
                            moe_error *err) {
    double x = k.absent;
    struct moe_json_value v = k.key ? moe_json_get(config, k.key) : (struct moe_json_value){0};
    if (!v.node && k.key && k.absent != 0) MOE_TRY(moe_spec_no_null(config, k.key, "a number", err));
    if (v.node) {
        MOE_TRY(moe_json_number(&x, v, err));
        bool fits = isfinite((float)x) && (zero ? x >= 0 : (float)x > 0);
        if (!fits)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a %s number, found %g", config.doc->file,
                            k.key, zero ? "non-negative" : "positive", x);
    }
    *out = (float)x;
    return MOE_OK;
}

moe_status moe_spec_real(float *out, struct moe_json_value config, struct moe_real_key k, moe_error *err) {
    return read_real(out, config, k, false, err);
}

moe_status moe_spec_real_or_0(float *out, struct moe_json_value config, struct moe_real_key k,
                              moe_error *err) {
    return read_real(out, config, k, true, err);
}
