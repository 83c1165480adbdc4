#include "text/postprocessor.h"

#include <stdlib.h>
#include <string.h>

#include "text/component.h"

/* A part of the template: the text, or ids. */
struct moe_post_piece {
    bool is_text;
    struct moe_ids ids;
};

/* ---- reading ------------------------------------------------------------------------------------------ */

static moe_status fail_memory(struct moe_json_value v, moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
}

static moe_status read_ids(struct moe_ids *ids, struct moe_json_value list, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key;
    if (!moe_json_is_array(list))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a list of ids", list.doc->file, list.path);
    while (moe_json_next(&it, list, &key, &element)) {
        int64_t id;
        MOE_TRY(moe_json_int(&id, element, 0, UINT32_MAX, err));
        if (!moe_ids_push(ids, (uint32_t)id)) return fail_memory(list, err);
    }
    return MOE_OK;
}

/* {"Sequence": {"id": "A", ...}} or {"SpecialToken": {"id": NAME, ...}} */
static moe_status read_piece(struct moe_post_piece *piece, struct moe_json_value v,
                             struct moe_json_value special_tokens, moe_error *err) {
    struct moe_json_value sequence = moe_json_get(v, "Sequence"), special = moe_json_get(v, "SpecialToken");
    const char *name;
    if (sequence.node) {
        MOE_TRY(moe_json_string(&name, moe_json_get(sequence, "id"), err));
        piece->is_text = true;
        if (strcmp(name, "A") == 0) return MOE_OK;
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: sequence \"%s\" in the template of a single text",
                        v.doc->file, sequence.path, name);
    }
    if (!special.node)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a Sequence or a SpecialToken", v.doc->file,
                        v.path);
    MOE_TRY(moe_json_string(&name, moe_json_get(special, "id"), err));
    struct moe_json_value token = moe_json_get(special_tokens, name);
    if (!token.node)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%s\" is not among special_tokens", v.doc->file,
                        special.path, name);
    return read_ids(&piece->ids, moe_json_get(token, "ids"), err);
}

static moe_status read_template(struct moe_postprocessor *post, struct moe_json_value v, moe_error *err) {
    struct moe_json_value single = moe_json_get(v, "single"), element;
    struct moe_json_iterator it = {0};
    const char *key;
    if (post->has_template)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: a second TemplateProcessing", v.doc->file, v.path);
    post->has_template = true;
    if (!moe_json_is_array(single))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected a list", v.doc->file, single.path);
    while (moe_json_next(&it, single, &key, &element)) {
        void *pieces = post->pieces;
        if (!moe_array_grow(&pieces, &post->capacity, post->n, 1, sizeof *post->pieces))
            return fail_memory(v, err);
        post->pieces = pieces;
        post->pieces[post->n] = (struct moe_post_piece){0};
        MOE_TRY(read_piece(&post->pieces[post->n++], element, moe_json_get(v, "special_tokens"), err));
    }
    return MOE_OK;
}

static moe_status read_step(void *context, const char *type, struct moe_json_value v, moe_error *err) {
    if (strcmp(type, "ByteLevel") == 0) return MOE_OK; /* changes offsets alone */
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(context, v, err);
    return moe_component_unknown(v, type, err);
}

moe_status moe_postprocessor_open(struct moe_postprocessor *out, struct moe_json_value v, moe_error *err) {
    *out = (struct moe_postprocessor){0};
    if (!v.node) return MOE_OK;
    moe_status status = moe_component_each(v, "processors", read_step, out, err);
    if (status != MOE_OK) moe_postprocessor_close(out);
    return status;
}

void moe_postprocessor_close(struct moe_postprocessor *post) {
    for (size_t i = 0; i < post->n; i++) moe_ids_free(&post->pieces[i].ids);
    free(post->pieces);
    *post = (struct moe_postprocessor){0};
}

/* ---- applying ----------------------------------------------------------------------------------------- */

size_t moe_postprocessor_added(const struct moe_postprocessor *post) {
    size_t n = 0;
    for (size_t i = 0; i < post->n; i++) n += post->pieces[i].ids.n;
    return n;
}

int64_t moe_postprocessor_largest_id(const struct moe_postprocessor *post) {
    int64_t largest = -1;
    for (size_t i = 0; i < post->n; i++)
        for (size_t j = 0; j < post->pieces[i].ids.n; j++)
            if (post->pieces[i].ids.data[j] > largest) largest = post->pieces[i].ids.data[j];
    return largest;
}

moe_status moe_postprocessor_apply(struct moe_ids *ids, const struct moe_postprocessor *post, bool special,
                                   moe_error *err) {
    struct moe_ids out = {0};
    if (!post->has_template) return MOE_OK;
    for (size_t i = 0; i < post->n; i++) {
        const struct moe_post_piece *piece = &post->pieces[i];
        const struct moe_ids *from = piece->is_text ? ids : &piece->ids;
        if (!piece->is_text && !special) continue;
        if (!moe_ids_grow(&out, from->n)) {
            moe_ids_free(&out);
            return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
        }
        if (from->n) memcpy(out.data + out.n, from->data, from->n * sizeof *from->data);
        out.n += from->n;
    }
    moe_ids_free(ids);
    *ids = out;
    return MOE_OK;
}
