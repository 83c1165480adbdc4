#include "models/source.h"

#include <stdio.h>

/* "[2, 3]" */
static void write_shape(char *out, size_t n_out, const size_t *shape, size_t rank) {
    size_t at = 0;
    for (size_t i = 0; i < rank && at < n_out; i++) {
        int n = shape[i] == MOE_ANY_SIZE ? snprintf(out + at, n_out - at, "%s*", i ? ", " : "[")
                                         : snprintf(out + at, n_out - at, "%s%zu", i ? ", " : "[", shape[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    if (at < n_out) snprintf(out + at, n_out - at, rank ? "]" : "[]");
}

/* "F32, BF16 or F16" */
static void write_dtypes(char *out, size_t n_out, uint32_t dtypes) {
    size_t at = 0;
    *out = '\0';
    for (int d = MOE_DTYPE_COUNT - 1; d >= 0 && at < n_out; d--) {
        if (!(dtypes >> d & 1)) continue;
        uint32_t below = dtypes & (((uint32_t)1 << d) - 1);
        const char *before = !at ? "" : below ? ", " : " or ";
        int n = snprintf(out + at, n_out - at, "%s%s", before, moe_dtype_name((enum moe_dtype)d));
        at += n > 0 ? (size_t)n : 0;
    }
}

static bool has_shape(const struct moe_tensor *t, const size_t *shape, size_t rank) {
    bool same = t->rank == rank;
    for (size_t i = 0; same && i < rank; i++) same = shape[i] == MOE_ANY_SIZE || shape[i] == t->shape[i];
    return same;
}

static bool checkpoint_has(void *context, enum moe_dtype *dtype, const char *name) {
    const struct moe_tensor *t = moe_checkpoint_find(context, name);
    if (t && dtype) *dtype = t->dtype;
    return t != NULL;
}

static moe_status checkpoint_get(void *context, struct moe_source_tensor *out, const char *name,
                                 const size_t *shape, size_t rank, uint32_t dtypes, moe_error *err) {
    const struct moe_checkpoint *ck = context;
    const struct moe_tensor *t = moe_checkpoint_find(ck, name);
    if (!t) return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: missing", moe_checkpoint_listing(ck), name);
    const char *file = moe_checkpoint_file(ck, t);
    char found[128], expected[128];
    if (!has_shape(t, shape, rank)) {
        write_shape(found, sizeof found, t->shape, t->rank);
        write_shape(expected, sizeof expected, shape, rank);
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: shape %s, expected %s", file, name, found,
                        expected);
    }
    if (!(dtypes >> t->dtype & 1)) {
        write_dtypes(expected, sizeof expected, dtypes);
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: tensor %s: dtype %s, expected %s", file, name,
                        moe_dtype_name(t->dtype), expected);
    }
    *out = (struct moe_source_tensor){t->dtype, t->data, t->n_bytes, file};
    return MOE_OK;
}

struct moe_source moe_source_checkpoint(const struct moe_checkpoint *ck) {
    return (struct moe_source){(void *)(uintptr_t)ck, checkpoint_has, checkpoint_get, false};
}
