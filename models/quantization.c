#include "models/quantization.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"

enum { FP8_BLOCK = 128, MXFP4_GROUP = 32 };

static moe_status refuse(struct moe_json_value v, const char *value, moe_error *err) {
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%.100s\" is not supported", v.doc->file, v.path,
                    value);
}

static moe_status refuse_number(struct moe_json_value v, int64_t value, const char *mode, moe_error *err) {
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: %lld is not supported in mode \"%s\"", v.doc->file,
                    v.path, (long long)value, mode);
}

/* ---- mlx-lm -------------------------------------------------------------------------------------------- */

static bool find_affine(enum moe_format *out, int64_t bits) {
    for (int f = MOE_FORMAT_AFFINE2; f <= MOE_FORMAT_AFFINE8; f++) {
        if ((int64_t)moe_format_bits((enum moe_format)f) != bits) continue;
        *out = (enum moe_format)f;
        return true;
    }
    return false;
}

/* group_size, bits and mode of an object. Without a mode it is affine, whatever the others are; a module that
 * states no numbers has the mode's own (mlx.nn, _defaults_for_mode); the top level must state them. */
static moe_status read_settings(struct moe_module_quantization *out, struct moe_json_value v, bool top,
                                moe_error *err) {
    struct moe_json_value mode_value = moe_json_get(v, "mode");
    struct moe_json_value group_value = moe_json_get(v, "group_size"), bits_value = moe_json_get(v, "bits");
    const char *mode = "affine";
    if (mode_value.node) MOE_TRY(moe_json_string(&mode, mode_value, err));
    bool mxfp4 = !strcmp(mode, "mxfp4");
    if (!mxfp4 && strcmp(mode, "affine")) return refuse(mode_value, mode, err);
    int64_t group = mxfp4 ? MXFP4_GROUP : 64, bits = 4;
    if (top || group_value.node) MOE_TRY(moe_json_int(&group, group_value, 1, INT32_MAX, err));
    if (top || bits_value.node) MOE_TRY(moe_json_int(&bits, bits_value, 1, INT32_MAX, err));
    if (mxfp4 ? group != MXFP4_GROUP : group != 32 && group != 64 && group != 128)
        return refuse_number(group_value, group, mode, err);
    *out = (struct moe_module_quantization){true, MOE_FORMAT_MXFP4, (size_t)group};
    if (mxfp4 ? bits != 4 : !find_affine(&out->format, bits))
        return refuse_number(bits_value, bits, mode, err);
    return MOE_OK;
}

static bool is_setting(const char *key) {
    return !strcmp(key, "group_size") || !strcmp(key, "bits") || !strcmp(key, "mode");
}

/* One module's own settings: an object, false for plain weights, or true for what the top level says. */
static moe_status read_module(struct moe_module_quantization *out, struct moe_json_value v,
                              const struct moe_module_quantization *top, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value member;
    const char *key;
    if (moe_json_is_bool(v)) {
        *out = *top;
        return moe_json_bool(&out->quantised, v, err);
    }
    while (moe_json_next(&it, v, &key, &member))
        if (!is_setting(key))
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: this setting is not supported", v.doc->file,
                            member.path);
    return read_settings(out, v, false, err);
}

/* Every other key that holds an object or a boolean is the name of a module; what else there is says nothing
 * of any, and is left alone, as mlx-lm does. */
static moe_status read_modules(struct moe_quantization *q, struct moe_json_value v, struct moe_name *names,
                               moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value member;
    const char *key;
    char *end = q->strings;
    size_t n = 0;
    while (moe_json_next(&it, v, &key, &member)) {
        if (is_setting(key) || !(moe_json_is_object(member) || moe_json_is_bool(member))) continue;
        MOE_TRY(read_module(&q->modules[n], member, &q->top, err));
        names[n] = (struct moe_name){end, &q->modules[n]};
        end = stpcpy(end, key) + 1;
        n++;
    }
    const struct moe_name *twice; /* none: the JSON reader refuses duplicate keys */
    return moe_names_build(&q->names, &twice, names, n, err);
}

static moe_status read_mlx(struct moe_quantization *q, struct moe_json_value v, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value member;
    const char *key;
    size_t n = 0, n_bytes = 0;
    q->mlx = true;
    MOE_TRY(read_settings(&q->top, v, true, err));
    for (; moe_json_next(&it, v, &key, &member); n++) n_bytes += strlen(key) + 1;
    assert(n > 0); /* group_size and bits at least */
    struct moe_name *names = calloc(n, sizeof *names);
    q->modules = calloc(n, sizeof *q->modules);
    q->strings = malloc(n_bytes);
    moe_status status = MOE_E_MEMORY;
    if (!names || !q->modules || !q->strings)
        MOE_FAIL(err, status, "%s: out of memory for %zu members", v.doc->file, n);
    else
        status = read_modules(q, v, names, err);
    free(names);
    return status;
}

/* ---- transformers -------------------------------------------------------------------------------------- */

/* A string that must be one of two, if it is there. */
static moe_status check_choice(struct moe_json_value v, const char *key, const char *one, const char *other,
                               moe_error *err) {
    const char *value;
    struct moe_json_value member = moe_json_get(v, key);
    if (!member.node) return MOE_OK;
    MOE_TRY(moe_json_string(&value, member, err));
    return !strcmp(value, one) || !strcmp(value, other) ? MOE_OK : refuse(member, value, err);
}

/* Absent, it is [128, 128]; null is one scale for a whole tensor. */
static moe_status check_block(struct moe_json_value v, moe_error *err) {
    struct moe_json_value block = moe_json_get(v, "weight_block_size"), element;
    struct moe_json_iterator it = {0};
    int64_t size[2] = {0};
    if (!moe_json_has(v, "weight_block_size")) return MOE_OK;
    if (!block.node)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: null is not supported", v.doc->file, block.path);
    if (!moe_json_is_array(block) || moe_json_size(block) != 2)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected two integers", v.doc->file, block.path);
    for (size_t i = 0; moe_json_next(&it, block, NULL, &element); i++)
        MOE_TRY(moe_json_int(&size[i], element, 1, INT32_MAX, err));
    if (size[0] == FP8_BLOCK && size[1] == FP8_BLOCK) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: [%lld, %lld] is not supported", v.doc->file, block.path,
                    (long long)size[0], (long long)size[1]);
}

/* A method that is reproduced; its tensors say the rest. */
static moe_status check_method(struct moe_json_value v, moe_error *err) {
    struct moe_json_value method_value = moe_json_get(v, "quant_method");
    const char *method;
    MOE_TRY(moe_json_string(&method, method_value, err));
    if (!strcmp(method, "mxfp4")) return MOE_OK;
    if (strcmp(method, "fp8")) return refuse(method_value, method, err);
    MOE_TRY(check_block(v, err));
    /* ue8m0: the scales are powers of two. They may still be stored as F32; their dtype tells */
    MOE_TRY(check_choice(v, "scale_fmt", "float", "ue8m0", err));
    return check_choice(v, "expert_dtype", "fp8", "fp8", err);
}

/* ---- both ---------------------------------------------------------------------------------------------- */

/* mlx-lm writes `quantization`, and a copy of it as quantization_config; where a model was quantised
 * otherwise before, the latter may still say how. */
static moe_status read(struct moe_quantization *q, struct moe_json_value config, moe_error *err) {
    struct moe_json_value v = moe_json_get(config, "quantization");
    bool mlx = v.node;
    q->key = mlx ? "quantization" : "quantization_config";
    if (!mlx) v = moe_json_get(config, q->key);
    MOE_TRY(moe_text_join(&q->file, config.doc->file, "", "", err));
    if (!v.node) return MOE_OK;
    if (!moe_json_is_object(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object", v.doc->file, v.path);
    mlx |= moe_json_has(v, "group_size") || moe_json_has(v, "bits");
    mlx &= !moe_json_has(v, "quant_method");
    return mlx ? read_mlx(q, v, err) : check_method(v, err);
}

moe_status moe_quantization_read(struct moe_quantization *out, struct moe_json_value config, moe_error *err) {
    *out = (struct moe_quantization){0};
    moe_status status = read(out, config, err);
    if (status != MOE_OK) moe_quantization_free(out);
    return status;
}

void moe_quantization_free(struct moe_quantization *q) {
    moe_names_free(&q->names);
    free(q->modules);
    free(q->strings);
    free(q->file);
    *q = (struct moe_quantization){0};
}

moe_status moe_quantization_replace(struct moe_quantization *q, enum moe_format format, size_t group_size,
                                    moe_error *err) {
    struct moe_quantization out = {.mlx = true, .key = "quantization", .top = {true, format, group_size}};
    const struct moe_name *twice; /* none, of no names */
    MOE_TRY(moe_names_build(&out.names, &twice, NULL, 0, err));
    moe_status status = moe_text_join(&out.file, q->file, "", "", err);
    if (status != MOE_OK) {
        moe_quantization_free(&out);
        return status;
    }
    moe_quantization_free(q);
    *q = out;
    return MOE_OK;
}

const struct moe_module_quantization *moe_quantization_module(const struct moe_quantization *q,
                                                              const char *module) {
    const struct moe_module_quantization *own = moe_names_find(&q->names, module);
    return own ? own : &q->top;
}
