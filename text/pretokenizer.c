#include "text/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/bytelevel.h"
#include "text/splitter.h"
#include "text/unicode.h"
#include "text/characters.h"

enum step_kind { STEP_SPLIT, STEP_DIGITS, STEP_BYTE_LEVEL, STEP_METASPACE };
enum prepend { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct moe_pretokenizer_step {
    enum step_kind kind;
    struct moe_pattern pattern; /* of Split, and ByteLevel's own */
    enum moe_split_behavior behavior;
    bool invert;
    bool individual_digits;
    bool prefix_space, use_regex; /* ByteLevel */
    char replacement[4];          /* Metaspace */
    size_t n_replacement;
    enum prepend prepend;
    bool split;
};

/* ByteLevel's own pattern, GPT-2's */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* ---- reading ------------------------------------------------------------------------------------------ */

/* Which of `names` [n] a string is. */
static moe_status read_name(size_t *out, struct moe_json_value v, const char *const *names, size_t n,
                            moe_error *err) {
    const char *name;
    MOE_TRY(moe_json_string(&name, v, err));
    for (*out = 0; *out < n; ++*out)
        if (strcmp(name, names[*out]) == 0) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%s\" is not known", v.doc->file, v.path, name);
}

static moe_status read_optional_bool(bool *out, bool absent, struct moe_json_value v, moe_error *err) {
    *out = absent;
    return v.node ? moe_json_bool(out, v, err) : MOE_OK;
}

static moe_status read_split(struct moe_pretokenizer_step *step, struct moe_json_value v, moe_error *err) {
    static const char *const behaviors[] = {[MOE_SPLIT_REMOVED] = "Removed",
                                            [MOE_SPLIT_ISOLATED] = "Isolated",
                                            [MOE_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                            [MOE_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                            [MOE_SPLIT_CONTIGUOUS] = "Contiguous"};
    size_t behavior;
    MOE_TRY(read_name(&behavior, moe_json_get(v, "behavior"), behaviors, sizeof behaviors / sizeof *behaviors,
                      err));
    step->behavior = (enum moe_split_behavior)behavior;
    MOE_TRY(moe_json_bool(&step->invert, moe_json_get(v, "invert"), err));
    return moe_pattern_open(&step->pattern, moe_json_get(v, "pattern"), err);
}

static moe_status read_byte_level(struct moe_pretokenizer_step *step, struct moe_json_value v,
                                  moe_error *err) {
    MOE_TRY(moe_json_bool(&step->prefix_space, moe_json_get(v, "add_prefix_space"), err));
    MOE_TRY(read_optional_bool(&step->use_regex, true, moe_json_get(v, "use_regex"), err));
    char where[256];
    moe_component_where(where, sizeof where, v);
    return step->use_regex ? moe_regex_open(&step->pattern.regex, gpt2_pattern, where, err) : MOE_OK;
}

static moe_status read_metaspace(struct moe_pretokenizer_step *step, struct moe_json_value v,
                                 moe_error *err) {
    static const char *const schemes[] = {
        [PREPEND_NEVER] = "never", [PREPEND_FIRST] = "first", [PREPEND_ALWAYS] = "always"};
    struct moe_json_value scheme = moe_json_get(v, "prepend_scheme"),
                          legacy = moe_json_get(v, "add_prefix_space");
    size_t place = PREPEND_ALWAYS;
    bool add_prefix_space;
    MOE_TRY(moe_component_character(step->replacement, &step->n_replacement, moe_json_get(v, "replacement"),
                                    err));
    MOE_TRY(read_optional_bool(&step->split, true, moe_json_get(v, "split"), err));
    MOE_TRY(read_optional_bool(&add_prefix_space, true, legacy, err));
    if (scheme.node) MOE_TRY(read_name(&place, scheme, schemes, 3, err));
    if (!add_prefix_space && place != PREPEND_NEVER)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: false does not go with prepend_scheme \"%s\"",
                        v.doc->file, legacy.path, schemes[place]);
    step->prepend = (enum prepend)place;
    return MOE_OK;
}

static moe_status read_step(void *context, const char *type, struct moe_json_value v, moe_error *err) {
    struct moe_pretokenizer *pretokenizer = context;
    void *steps = pretokenizer->steps;
    if (!moe_array_grow(&steps, &pretokenizer->capacity, pretokenizer->n, 1, sizeof *pretokenizer->steps))
        return MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
    pretokenizer->steps = steps;
    struct moe_pretokenizer_step *step = &pretokenizer->steps[pretokenizer->n++];
    *step = (struct moe_pretokenizer_step){0};
    if (strcmp(type, "Split") == 0) {
        step->kind = STEP_SPLIT;
        return read_split(step, v, err);
    }
    if (strcmp(type, "Digits") == 0) {
        step->kind = STEP_DIGITS;
        return moe_json_bool(&step->individual_digits, moe_json_get(v, "individual_digits"), err);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = STEP_BYTE_LEVEL;
        return read_byte_level(step, v, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        step->kind = STEP_METASPACE;
        return read_metaspace(step, v, err);
    }
    return moe_component_unknown(v, type, err);
}

moe_status moe_pretokenizer_open(struct moe_pretokenizer *out, struct moe_json_value v, moe_error *err) {
    *out = (struct moe_pretokenizer){0};
    if (!v.node) return MOE_OK;
    moe_status status = moe_component_each(v, "pretokenizers", read_step, out, err);
    if (status != MOE_OK) moe_pretokenizer_close(out);
    return status;
}

void moe_pretokenizer_close(struct moe_pretokenizer *pretokenizer) {
    for (size_t i = 0; i < pretokenizer->n; i++) moe_pattern_close(&pretokenizer->steps[i].pattern);
    free(pretokenizer->steps);
    *pretokenizer = (struct moe_pretokenizer){0};
}

/* ---- pieces ------------------------------------------------------------------------------------------- */

static moe_status fail_memory(moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}

static bool add_piece(struct moe_pieces *pieces, size_t offset, size_t n, size_t from_start) {
    void *list = pieces->list;
    if (!moe_array_grow(&list, &pieces->capacity, pieces->n, 1, sizeof *pieces->list)) return false;
    pieces->list = list;
    pieces->list[pieces->n++] = (struct moe_piece){offset, n, from_start};
    return true;
}

/* A splitter's piece: part [start, end) of the piece it works on. */
struct cut {
    struct moe_pieces *out;
    struct moe_piece whole;
};

static bool add_cut(void *context, size_t start, size_t end) {
    struct cut *cut = context;
    size_t from_start = cut->whole.from_start > start ? cut->whole.from_start - start : 0;
    return add_piece(cut->out, cut->whole.offset + start, end - start,
                     from_start < end - start ? from_start : end - start);
}

/* ---- steps: each makes `spare` of `pieces`, and they change places ---------------------------------------
 */

static void change_places(struct moe_pretokens *t) {
    struct moe_pieces swap = t->pieces;
    t->pieces = t->spare;
    t->spare = swap;
    t->spare.n = 0;
    t->spare.text.n = 0;
}

/* Cuts every piece, the text staying as it is. */
static moe_status split_at_matches(struct moe_pretokens *t, const struct moe_pattern *pattern,
                                   enum moe_split_behavior behavior, bool invert, moe_error *err) {
    for (size_t i = 0; i < t->pieces.n; i++) {
        struct cut cut = {&t->spare, t->pieces.list[i]};
        const char *text = t->pieces.text.data + cut.whole.offset;
        MOE_TRY(moe_split_by_pattern(&t->matcher, pattern, text, cut.whole.n, behavior, invert, add_cut, &cut,
                                     err));
    }
    struct moe_bytes text = t->spare.text;
    t->spare.text = t->pieces.text;
    t->pieces.text = text;
    change_places(t);
    return MOE_OK;
}

static moe_status split_at_characters(struct moe_pretokens *t, moe_split_test *is_match, const void *context,
                                      enum moe_split_behavior behavior, moe_error *err) {
    for (size_t i = 0; i < t->pieces.n; i++) {
        struct cut cut = {&t->spare, t->pieces.list[i]};
        const char *text = t->pieces.text.data + cut.whole.offset;
        if (!moe_split_by_character(text, cut.whole.n, is_match, context, behavior, add_cut, &cut))
            return fail_memory(err);
    }
    struct moe_bytes text = t->spare.text;
    t->spare.text = t->pieces.text;
    t->pieces.text = text;
    change_places(t);
    return MOE_OK;
}

static bool is_digit(const void *context, const char *character, size_t n) {
    uint32_t c;
    (void)context;
    (void)n;
    moe_char_decode(&c, character);
    return moe_unicode_is_numeric(c);
}

static bool is_replacement(const void *context, const char *character, size_t n) {
    const struct moe_pretokenizer_step *step = context;
    return n == step->n_replacement && memcmp(character, step->replacement, n) == 0;
}

/* Copies every piece, with `prefix` before those that `wants` it. */
typedef bool wants_prefix(const struct moe_pretokenizer_step *step, const struct moe_piece *piece,
                          const char *text);

static moe_status prepend(struct moe_pretokens *t, const struct moe_pretokenizer_step *step,
                          wants_prefix *wants, const char *prefix, size_t n_prefix, moe_error *err) {
    for (size_t i = 0; i < t->pieces.n; i++) {
        struct moe_piece piece = t->pieces.list[i];
        const char *text = t->pieces.text.data + piece.offset;
        size_t extra = wants(step, &piece, text) ? n_prefix : 0;
        size_t offset = t->spare.text.n;
        if (!moe_bytes_append(&t->spare.text, prefix, extra) ||
            !moe_bytes_append(&t->spare.text, text, piece.n) ||
            !add_piece(&t->spare, offset, piece.n + extra, piece.from_start ? piece.from_start + extra : 0))
            return fail_memory(err);
    }
    change_places(t);
    return MOE_OK;
}

static bool wants_space(const struct moe_pretokenizer_step *step, const struct moe_piece *piece,
                        const char *text) {
    (void)step;
    (void)piece;
    return *text != ' ';
}

static bool wants_replacement(const struct moe_pretokenizer_step *step, const struct moe_piece *piece,
                              const char *text) {
    bool starts_with =
        piece->n >= step->n_replacement && memcmp(text, step->replacement, step->n_replacement) == 0;
    return !starts_with && (step->prepend == PREPEND_ALWAYS || piece->from_start > 0);
}

/* Bytes to characters of the byte alphabet. */
static moe_status map_bytes(struct moe_pretokens *t, moe_error *err) {
    char map[256][2];
    unsigned char length[256];
    for (unsigned b = 0; b < 256; b++) {
        char encoded[4] = {0};
        length[b] = (unsigned char)moe_char_encode(encoded, moe_bytelevel_character((unsigned char)b));
        memcpy(map[b], encoded, 2);
    }
    for (size_t i = 0; i < t->pieces.n; i++) {
        struct moe_piece piece = t->pieces.list[i];
        const unsigned char *text = (const unsigned char *)t->pieces.text.data + piece.offset;
        size_t offset = t->spare.text.n, from_start = 0;
        if (!moe_bytes_grow(&t->spare.text, 2 * piece.n + 1)) return fail_memory(err);
        char *out = t->spare.text.data + offset;
        for (size_t k = 0; k < piece.n; k++) {
            if (k == piece.from_start) from_start = (size_t)(out - t->spare.text.data) - offset;
            memcpy(out, map[text[k]], 2);
            out += length[text[k]];
        }
        size_t n = (size_t)(out - t->spare.text.data) - offset;
        if (piece.from_start >= piece.n) from_start = n;
        t->spare.text.n += n;
        if (!add_piece(&t->spare, offset, n, from_start)) return fail_memory(err);
    }
    change_places(t);
    return MOE_OK;
}

/* Spaces to the replacement. */
static moe_status replace_spaces(struct moe_pretokens *t, const struct moe_pretokenizer_step *step,
                                 moe_error *err) {
    for (size_t i = 0; i < t->pieces.n; i++) {
        struct moe_piece piece = t->pieces.list[i];
        const char *text = t->pieces.text.data + piece.offset;
        size_t offset = t->spare.text.n, from_start = 0;
        for (size_t k = 0; k < piece.n; k++) {
            bool space = text[k] == ' ';
            const char *from = space ? step->replacement : text + k;
            if (!moe_bytes_append(&t->spare.text, from, space ? step->n_replacement : 1))
                return fail_memory(err);
            if (k < piece.from_start) from_start = t->spare.text.n - offset;
        }
        if (!add_piece(&t->spare, offset, t->spare.text.n - offset, from_start)) return fail_memory(err);
    }
    change_places(t);
    return MOE_OK;
}

static moe_status apply_byte_level(struct moe_pretokens *t, const struct moe_pretokenizer_step *step,
                                   moe_error *err) {
    if (step->prefix_space) MOE_TRY(prepend(t, step, wants_space, " ", 1, err));
    if (step->use_regex) MOE_TRY(split_at_matches(t, &step->pattern, MOE_SPLIT_ISOLATED, false, err));
    return map_bytes(t, err);
}

static moe_status apply_metaspace(struct moe_pretokens *t, const struct moe_pretokenizer_step *step,
                                  moe_error *err) {
    MOE_TRY(replace_spaces(t, step, err));
    if (step->prepend != PREPEND_NEVER)
        MOE_TRY(prepend(t, step, wants_replacement, step->replacement, step->n_replacement, err));
    return step->split ? split_at_characters(t, is_replacement, step, MOE_SPLIT_MERGED_WITH_NEXT, err)
                       : MOE_OK;
}

static moe_status apply_step(struct moe_pretokens *t, const struct moe_pretokenizer_step *step,
                             moe_error *err) {
    switch (step->kind) {
    case STEP_SPLIT:
        return split_at_matches(t, &step->pattern, step->behavior, step->invert, err);
    case STEP_DIGITS:
        return split_at_characters(t, is_digit, NULL,
                                   step->individual_digits ? MOE_SPLIT_ISOLATED : MOE_SPLIT_CONTIGUOUS, err);
    case STEP_BYTE_LEVEL:
        return apply_byte_level(t, step, err);
    default:
        return apply_metaspace(t, step, err);
    }
}

moe_status moe_pretokenizer_apply(struct moe_pretokens *out, const struct moe_pretokenizer *pretokenizer,
                                  const char *text, size_t n, size_t from_start, moe_error *err) {
    out->pieces.n = out->spare.n = 0;
    out->pieces.text.n = out->spare.text.n = 0;
    if (!moe_bytes_append(&out->pieces.text, text, n) || !add_piece(&out->pieces, 0, n, from_start))
        return fail_memory(err);
    for (size_t i = 0; i < pretokenizer->n; i++) MOE_TRY(apply_step(out, &pretokenizer->steps[i], err));
    return MOE_OK;
}

void moe_pretokens_free(struct moe_pretokens *pretokens) {
    moe_bytes_free(&pretokens->pieces.text);
    moe_bytes_free(&pretokens->spare.text);
    free(pretokens->pieces.list);
    free(pretokens->spare.list);
    moe_matcher_free(&pretokens->matcher);
    *pretokens = (struct moe_pretokens){0};
}
