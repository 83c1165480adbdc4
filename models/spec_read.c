#include "models/spec_read.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Names for one thing: transformers 5 writes these for what a family's own key says. */
enum { MAX_ALIASES = 4 };
static const struct aliases {
    const char *names[MAX_ALIASES];
} aliases[] = {{{"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}},
               {{"num_experts_per_tok", "moe_k"}}};

/* One name of a key, which ends at `end`: its value, and whether it is there, even as null. */
static struct moe_json_value look_up(struct moe_json_value v, const char *name, const char *end, bool *has) {
    char part[64];
    *has = false;
    for (const char *dot; name <= end; name = dot + 1) {
        dot = memchr(name, '.', (size_t)(end - name));
        if (!dot) dot = end;
        size_t n = (size_t)(dot - name);
        assert(n < sizeof part);
        memcpy(part, name, n);
        part[n] = '\0';
        *has = moe_json_has(v, part);
        v = moe_json_get(v, part);
    }
    return v;
}

/* A list of names that has the key as one; NULL: none has. */
static const struct aliases *aliases_of(moe_key key) {
    for (size_t a = 0; a < sizeof aliases / sizeof *aliases; a++)
        for (size_t i = 0; i < MAX_ALIASES && aliases[a].names[i]; i++)
            if (!strcmp(key, aliases[a].names[i])) return &aliases[a];
    return NULL;
}

/* The first of the names that config.json has. */
static bool find_alias(struct moe_json_value *out, struct moe_json_value config, moe_key key) {
    const struct aliases *a = aliases_of(key);
    bool has = false;
    for (size_t i = 0; a && !has && i < MAX_ALIASES && a->names[i]; i++)
        *out = look_up(config, a->names[i], a->names[i] + strlen(a->names[i]), &has);
    return has;
}

/* Two names for one thing must not say different things: which one counts differs from family to family. */
static moe_status check_aliases(struct moe_json_value config, moe_key key, struct moe_json_value v, size_t n,
                                moe_error *err) {
    const struct aliases *a = aliases_of(key);
    for (size_t i = 0; a && i < MAX_ALIASES && a->names[i]; i++) {
        int64_t other;
        struct moe_json_value alias = moe_json_get(config, a->names[i]);
        if (!moe_json_is_number(alias)) continue;
        MOE_TRY(moe_json_int(&other, alias, -MOE_JSON_MAX_INT, MOE_JSON_MAX_INT, err));
        if (other != (int64_t)n)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %lld, but %s is %zu", config.doc->file, alias.path,
                            (long long)other, v.path, n);
    }
    return MOE_OK;
}

/* The value of a key, or of one that means the same; without one, it has the path of the last name. */
static struct moe_json_value find(struct moe_json_value config, moe_key key, bool *has) {
    struct moe_json_value v = {0}, alias;
    *has = false;
    for (const char *name = key, *end; !v.node; name = end + 1) {
        bool here;
        end = name + strcspn(name, "|?");
        v = look_up(config, name, end, &here);
        *has |= here;
        if (*end != '|') break;
    }
    if (*has) return v;
    *has = find_alias(&alias, config, key);
    return *has ? alias : v;
}

struct moe_json_value moe_spec_get(struct moe_json_value config, moe_key key) {
    bool has;
    return find(config, key, &has);
}

bool moe_spec_has(struct moe_json_value config, moe_key key) {
    bool has;
    find(config, key, &has);
    return has;
}

/* Whether a key that may be null is. */
static bool is_null(struct moe_json_value config, moe_key key) {
    bool has;
    return strchr(key, '?') && !find(config, key, &has).node && has;
}

moe_status moe_spec_no_null(struct moe_json_value config, moe_key key, const char *expected, moe_error *err) {
    bool has = false;
    struct moe_json_value v = {0};
    if (key) v = find(config, key, &has);
    if (v.node || !has) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected %s, found null", config.doc->file, v.path, expected);
}

moe_status moe_spec_unused(struct moe_json_value config, moe_key key, moe_error *err) {
    int64_t n;
    struct moe_json_value v = moe_spec_get(config, key);
    return v.node ? moe_json_int(&n, v, -MOE_JSON_MAX_INT, MOE_JSON_MAX_INT, err) : MOE_OK;
}

static moe_status read_int(size_t *out, struct moe_json_value v, int64_t min, int64_t max, moe_error *err) {
    int64_t n;
    MOE_TRY(moe_json_int(&n, v, min, max, err));
    *out = (size_t)n;
    return MOE_OK;
}

moe_status moe_spec_size_of(size_t *out, struct moe_json_value v, size_t max, moe_error *err) {
    return read_int(out, v, 1, (int64_t)max, err);
}

moe_status moe_spec_size(size_t *out, struct moe_json_value config, struct moe_int_key k, int64_t max,
                         moe_error *err) {
    bool has = false;
    struct moe_json_value v = {0};
    if (k.key) v = find(config, k.key, &has);
    *out = (size_t)k.absent;
    if (!has && k.absent > 0) return MOE_OK;
    MOE_TRY(read_int(out, v, 1, max, err));
    return k.key ? check_aliases(config, k.key, v, *out, err) : MOE_OK;
}

moe_status moe_spec_count(size_t *out, struct moe_json_value config, struct moe_int_key k, int64_t max,
                          moe_error *err) {
    struct moe_json_value v = {0};
    if (k.key) v = moe_spec_get(config, k.key);
    *out = (size_t)k.absent;
    return v.node ? read_int(out, v, 0, max, err) : MOE_OK;
}

moe_status moe_spec_bool(bool *out, struct moe_json_value config, struct moe_bool_key k, moe_error *err) {
    *out = k.absent;
    bool has = false;
    struct moe_json_value v = {0};
    if (k.key) v = find(config, k.key, &has);
    if (has && is_null(config, k.key))
        *out = false;
    else if (has)
        return moe_json_bool(out, v, err);
    return MOE_OK;
}

moe_status moe_spec_switch(bool *out, struct moe_json_value config, moe_key key, moe_error *err) {
    double x;
    struct moe_json_value v = moe_spec_get(config, key);
    if (!moe_json_is_number(v)) return moe_spec_bool(out, config, (struct moe_bool_key){key, true}, err);
    MOE_TRY(moe_json_number(&x, v, err));
    *out = x != 0;
    return MOE_OK;
}

static moe_status read_real(float *out, struct moe_json_value config, struct moe_real_key k, bool zero,
                            moe_error *err) {
    double x = k.absent;
    struct moe_json_value v = {0};
    if (k.key) v = moe_spec_get(config, k.key);
    if (!v.node && k.key && k.absent != 0) MOE_TRY(moe_spec_no_null(config, k.key, "a number", err));
    if (v.node) {
        MOE_TRY(moe_json_number(&x, v, err));
        bool fits = isfinite((float)x) && (zero ? x >= 0 : (float)x > 0);
        if (!fits)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a %s number, found %g", config.doc->file,
                            v.path, zero ? "non-negative" : "positive", x);
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

moe_status moe_spec_list(struct moe_json_value *out, struct moe_json_value config, moe_key key, size_t n,
                         moe_error *err) {
    *out = moe_spec_get(config, key);
    if (!out->node || (moe_json_is_array(*out) && moe_json_size(*out) == n)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an array of %zu", config.doc->file, out->path, n);
}

moe_status moe_spec_factor(float *out, struct moe_json_value config, struct moe_real_key k, moe_error *err) {
    *out = 1;
    if (!k.key || is_null(config, k.key)) return MOE_OK;
    MOE_TRY(moe_spec_no_null(config, k.key, "a number", err));
    return moe_spec_real(out, config, k, err);
}
