#include "models/source.h"

#include <stdio.h>
#include <string.h>

/* "[2, 3]" */
static void write_shape(char *out, size_t n_out, const size_t *shape, size_t rank) {
    size_t at = 0;
    for (size_t i = 0; i < rank && at < n_out; i++) {
        int n = snprintf(out + at, n_out - at, "%s%zu", i ? ", " : "[", shape[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    if (at < n_out) snprintf(out + at, n_out - at, rank ? "]" : "[]");
}

static bool checkpoint_has(void *context, const char *name) {
    return moe_checkpoint_find(context, name) != NULL;
}

static moe_status checkpoint_get(void *context, struct moe_source_tensor *out, const char *name,
                                 const size_t *shape, size_t rank, moe_error *err) {
    const struct moe_checkpoint *ck = context;
    const struct moe_tensor *t = moe_checkpoint_find(ck, name);
    if (!t) return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: missing", moe_checkpoint_dir(ck), name);
    const char *file = moe_checkpoint_file(ck, t);
    if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape)) {
        char found[128], expected[128];
        write_shape(found, sizeof found, t->shape, t->rank);
        write_shape(expected, sizeof expected, shape, rank);
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: shape %s, expected %s", file, name, found,
                        expected);
    }
    const char *dtype = moe_dtype_name(t->dtype);
    for (size_t f = 0; f < MOE_FORMAT_COUNT; f++) {
        if (strcmp(dtype, moe_format_name((enum moe_format)f))) continue;
        *out = (struct moe_source_tensor){(enum moe_format)f, t->data};
        return MOE_OK;
    }
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: tensor %s: dtype %s, expected F32, BF16 or F16", file, name,
                    dtype);
}

struct moe_source moe_source_checkpoint(const struct moe_checkpoint *ck) {
    return (struct moe_source){(void *)(uintptr_t)ck, checkpoint_has, checkpoint_get};
}
