#include "text/component.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/characters.h"

moe_status moe_component_type(const char **type, struct moe_json_value v, moe_error *err) {
    if (!moe_json_is_object(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object or null", v.doc->file, v.path);
    return moe_json_string(type, moe_json_get(v, "type"), err);
}

moe_status moe_component_unknown(struct moe_json_value v, const char *type, moe_error *err) {
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: \"%s\" is not implemented", v.doc->file, v.path, type);
}

void moe_component_where(char *out, size_t size, struct moe_json_value v) {
    snprintf(out, size, "%s: %s", v.doc->file, v.path);
}

moe_status moe_component_each(struct moe_json_value v, const char *key, moe_component_reader *read,
                              void *context, moe_error *err) {
    const char *type, *unused;
    MOE_TRY(moe_component_type(&type, v, err));
    if (strcmp(type, "Sequence") != 0) return read(context, type, v, err);
    struct moe_json_value list = moe_json_get(v, key), element;
    struct moe_json_iterator it = {0};
    if (!moe_json_is_array(list))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a list", v.doc->file, list.path);
    while (moe_json_next(&it, list, &unused, &element))
        MOE_TRY(moe_component_each(element, key, read, context, err));
    return MOE_OK;
}

moe_status moe_component_pattern(char **literal, struct moe_regex **regex, struct moe_json_value v,
                                 moe_error *err) {
    struct moe_json_value string = moe_json_get(v, "String"), pattern = moe_json_get(v, "Regex");
    const char *text;
    *literal = NULL;
    *regex = NULL;
    if (moe_json_size(v) != 1 || (!string.node && !pattern.node))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected {\"String\": ...} or {\"Regex\": ...}",
                        v.doc->file, v.path);
    if (string.node) {
        MOE_TRY(moe_json_string(&text, string, err));
        if (!*text)
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: an empty string is not implemented", v.doc->file,
                            string.path);
        *literal = moe_text_copy(text, strlen(text));
        return *literal ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
    }
    char where[256];
    MOE_TRY(moe_json_string(&text, pattern, err));
    moe_component_where(where, sizeof where, pattern);
    return moe_regex_open(regex, text, where, err);
}

moe_status moe_component_character(char out[4], size_t *n, struct moe_json_value v, moe_error *err) {
    const char *text;
    MOE_TRY(moe_json_string(&text, v, err));
    *n = *text ? moe_char_length(*text) : 0;
    if (*n == 0 || text[*n])
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected one character", v.doc->file, v.path);
    memcpy(out, text, *n);
    return MOE_OK;
}
