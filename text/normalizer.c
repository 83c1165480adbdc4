#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/normal_form.h"
#include "text/characters.h"

enum step_kind { STEP_FORM, STEP_PREPEND, STEP_REPLACE };

struct moe_normalizer_step {
    enum step_kind kind;
    enum moe_normal_form form;
    struct moe_pattern pattern;
    char *content; /* prepended, or put in place of a match */
};

/* ---- reading ------------------------------------------------------------------------------------------ */

static moe_status copy_string(char **out, struct moe_json_value v, moe_error *err) {
    const char *text;
    MOE_TRY(moe_json_string(&text, v, err));
    *out = moe_text_copy(text, strlen(text));
    return *out ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
}

static moe_status read_replace(struct moe_normalizer_step *step, struct moe_json_value v, moe_error *err) {
    struct moe_json_value pattern = moe_json_get(v, "pattern");
    MOE_TRY(moe_pattern_open(&step->pattern, pattern, err));
    MOE_TRY(copy_string(&step->content, moe_json_get(v, "content"), err));
    if (step->pattern.regex && moe_regex_matches_empty(step->pattern.regex))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                        "%s: %s: a pattern that matches the empty string is not implemented", v.doc->file,
                        pattern.path);
    return MOE_OK;
}

static moe_status read_step(void *context, const char *type, struct moe_json_value v, moe_error *err) {
    static const char *const forms[] = {
        [MOE_NFC] = "NFC", [MOE_NFD] = "NFD", [MOE_NFKC] = "NFKC", [MOE_NFKD] = "NFKD"};
    struct moe_normalizer *normalizer = context;
    void *steps = normalizer->steps;
    if (!moe_array_grow(&steps, &normalizer->capacity, normalizer->n, 1, sizeof *normalizer->steps))
        return MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
    normalizer->steps = steps;
    struct moe_normalizer_step *step = &normalizer->steps[normalizer->n++];
    *step = (struct moe_normalizer_step){0};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(type, forms[i]) != 0) continue;
        step->kind = STEP_FORM;
        step->form = (enum moe_normal_form)i;
        return MOE_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        step->kind = STEP_PREPEND;
        MOE_TRY(copy_string(&step->content, moe_json_get(v, "prepend"), err));
        if (*step->content) return MOE_OK; /* of the empty string the reference makes something else */
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s.prepend: the empty string is not implemented",
                        v.doc->file, v.path);
    }
    if (strcmp(type, "Replace") == 0) {
        step->kind = STEP_REPLACE;
        return read_replace(step, v, err);
    }
    return moe_component_unknown(v, type, err);
}

moe_status moe_normalizer_open(struct moe_normalizer *out, struct moe_json_value v, moe_error *err) {
    *out = (struct moe_normalizer){0};
    if (!v.node) return MOE_OK;
    moe_status status = moe_component_each(v, "normalizers", read_step, out, err);
    if (status != MOE_OK) moe_normalizer_close(out);
    return status;
}

void moe_normalizer_close(struct moe_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->n; i++) {
        moe_pattern_close(&normalizer->steps[i].pattern);
        free(normalizer->steps[i].content);
    }
    free(normalizer->steps);
    *normalizer = (struct moe_normalizer){0};
}

/* ---- applying: every step writes `spare` from `text` ----------------------------------------------------
 */

static moe_status fail_memory(moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}

/* How much of `whole`, not empty, comes from the first character of the input, whose own form is `alone`:
 * what the two have in common, for marks that follow may have come between; at least one character, for it
 * may have composed with them. */
static size_t common_start(const char *alone, size_t n_alone, const char *whole, size_t n_whole) {
    size_t n = 0, most = n_alone < n_whole ? n_alone : n_whole;
    while (n < most && alone[n] == whole[n]) n++;
    while (n > 0 && n < n_whole && ((unsigned char)whole[n] & 0xC0) == 0x80) n--;
    return n ? n : moe_char_length(*whole);
}

static moe_status apply_form(struct moe_normalized *t, enum moe_normal_form form, moe_error *err) {
    struct moe_bytes *out = &t->spare;
    if (t->from_start) MOE_TRY(moe_normal_form(out, t->text.data, t->from_start, form, err));
    size_t n_alone = out->n;
    MOE_TRY(moe_normal_form(out, t->text.data, t->text.n, form, err));
    out->n -= n_alone;
    if (!t->from_start) return MOE_OK;
    t->from_start = common_start(out->data, n_alone, out->data + n_alone, out->n);
    memmove(out->data, out->data + n_alone, out->n);
    return MOE_OK;
}

static moe_status apply_prepend(struct moe_normalized *t, const char *content, moe_error *err) {
    size_t n = strlen(content);
    if (!moe_bytes_append(&t->spare, content, n) || !moe_bytes_append(&t->spare, t->text.data, t->text.n))
        return fail_memory(err);
    if (t->from_start) t->from_start += n;
    return MOE_OK;
}

static moe_status apply_replace(struct moe_normalized *t, const struct moe_normalizer_step *step,
                                moe_error *err) {
    size_t n_content = strlen(step->content), done = 0, from_start = 0;
    MOE_TRY(moe_matcher_begin(&t->matcher, &step->pattern, t->text.data, t->text.n, err));
    for (;;) {
        bool found;
        size_t start, end;
        MOE_TRY(moe_matcher_next(&t->matcher, &found, &start, &end, err));
        if (!found) start = end = t->text.n;
        if (!moe_bytes_append(&t->spare, t->text.data + done, start - done)) return fail_memory(err);
        if (t->from_start > done) from_start += t->from_start < start ? t->from_start - done : start - done;
        if (!found) break;
        /* what is put in counts as coming from where the last character taken out came from */
        if (!moe_bytes_append(&t->spare, step->content, n_content)) return fail_memory(err);
        if (end <= t->from_start) from_start += n_content;
        done = end;
    }
    t->from_start = from_start;
    return MOE_OK;
}

moe_status moe_normalizer_apply(struct moe_normalized *out, const struct moe_normalizer *normalizer,
                                const char *text, size_t n, bool at_start, moe_error *err) {
    out->text.n = 0;
    if (!moe_bytes_append(&out->text, text, n)) return fail_memory(err);
    out->from_start = at_start ? moe_char_length(*text) : 0;
    for (size_t i = 0; i < normalizer->n && out->text.n; i++) {
        const struct moe_normalizer_step *step = &normalizer->steps[i];
        out->spare.n = 0;
        moe_status status = step->kind == STEP_FORM      ? apply_form(out, step->form, err)
                            : step->kind == STEP_PREPEND ? apply_prepend(out, step->content, err)
                                                         : apply_replace(out, step, err);
        MOE_TRY(status);
        struct moe_bytes swap = out->text;
        out->text = out->spare;
        out->spare = swap;
    }
    return MOE_OK;
}

void moe_normalized_free(struct moe_normalized *normalized) {
    moe_bytes_free(&normalized->text);
    moe_bytes_free(&normalized->spare);
    moe_matcher_free(&normalized->matcher);
}
