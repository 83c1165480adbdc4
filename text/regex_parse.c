/* The expression around the classes. What it denotes in the reference (Oniguruma's own syntax) is written
 * down in terms that mean the same to PCRE2; what has no such terms is refused. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "text/buffer.h"
#include "text/regex_syntax.h"
#include "text/unicode.h"

/* ---- the program -------------------------------------------------------------------------------------- */

void moe_regex_program_free(struct moe_regex_program *program) {
    for (size_t i = 0; i < program->n_sets; i++) moe_charset_free(&program->sets[i]);
    free(program->sets);
    free(program->items);
    *program = (struct moe_regex_program){0};
}

moe_status moe_regex_program_add_set(size_t *number, struct moe_regex_program *program,
                                     struct moe_charset *set) {
    for (size_t i = 0; i < program->n_sets; i++) {
        if (!moe_charset_equal(&program->sets[i], set)) continue;
        moe_charset_free(set);
        *number = i;
        return MOE_OK;
    }
    void *sets = program->sets;
    if (program->n_sets == MOE_REGEX_MAX_SETS) return MOE_E_UNSUPPORTED;
    if (!moe_array_grow(&sets, &program->sets_capacity, program->n_sets, 1, sizeof *program->sets))
        return MOE_E_MEMORY;
    program->sets = sets;
    *number = program->n_sets;
    program->sets[program->n_sets++] = *set;
    *set = (struct moe_charset){0};
    return MOE_OK;
}

/* Puts an item at place `at`, before what stands there. */
static moe_status insert(struct moe_regex_parser *p, size_t at, struct moe_regex_item item) {
    struct moe_regex_program *program = p->program;
    void *items = program->items;
    if (!moe_array_grow(&items, &program->items_capacity, program->n_items, 1, sizeof item))
        return moe_regex_no_memory(p);
    program->items = items;
    memmove(program->items + at + 1, program->items + at, (program->n_items - at) * sizeof item);
    program->items[at] = item;
    program->n_items++;
    return MOE_OK;
}

static moe_status emit(struct moe_regex_parser *p, const char *text) {
    return insert(p, p->program->n_items, (struct moe_regex_item){.kind = MOE_REGEX_TEXT, .text = text});
}

/* Takes over *set. */
static moe_status emit_set(struct moe_regex_parser *p, struct moe_charset *set) {
    struct moe_regex_item item = {.kind = MOE_REGEX_SET};
    moe_status status = moe_regex_program_add_set(&item.set, p->program, set);
    moe_charset_free(set);
    if (status == MOE_E_UNSUPPORTED) return moe_regex_refuse(p, status, "too many different classes");
    if (status != MOE_OK) return moe_regex_no_memory(p);
    return insert(p, p->program->n_items, item);
}

static moe_status emit_range(struct moe_regex_parser *p, uint32_t first, uint32_t last, bool invert) {
    struct moe_charset set = {0};
    if (!moe_charset_add(&set, first, last) || (invert && !moe_charset_invert(&set))) {
        moe_charset_free(&set);
        return moe_regex_no_memory(p);
    }
    return emit_set(p, &set);
}

/* ---- atoms -------------------------------------------------------------------------------------------- */

enum atom {
    ATOM_NONE,  /* nothing here: the branch ends */
    ATOM_SET,   /* one character */
    ATOM_GROUP, /* something else that may be repeated */
    ATOM_ANCHOR /* what may not */
};

static moe_status parse_branches(struct moe_regex_parser *p, struct moe_regex_options o, bool top);

static moe_status parse_literal(struct moe_regex_parser *p, struct moe_regex_options o, uint32_t c) {
    struct moe_charset set = {0};
    if (!moe_charset_add(&set, c, c)) return moe_regex_no_memory(p);
    if (!o.ignore_case) p->n_literals = 0;
    if (o.ignore_case) {
        if (p->n_literals == 3) {
            p->literals[0] = p->literals[1];
            p->literals[1] = p->literals[2];
            p->n_literals = 2;
        }
        p->literals[p->n_literals++] = c;
        if (moe_unicode_folds_to_several(c) || moe_unicode_ends_in_fold(p->literals, p->n_literals)) {
            moe_charset_free(&set);
            return moe_regex_refuse(p, MOE_E_UNSUPPORTED,
                                    "under (?i), characters of which one equals several others");
        }
        if (!moe_unicode_close_over_case(&set)) {
            moe_charset_free(&set);
            return moe_regex_no_memory(p);
        }
    }
    return emit_set(p, &set);
}

/* The four that are made of a class: where a word begins or ends. */
static moe_status emit_word_boundary(struct moe_regex_parser *p, bool negative) {
    static const char *const boundary[] = {"(?:(?<=", ")(?!", ")|(?<!", ")(?=", "))"};
    static const char *const inside[] = {"(?:(?<=", ")(?=", ")|(?<!", ")(?!", "))"};
    const char *const *parts = negative ? inside : boundary;
    for (size_t i = 0; i < 4; i++) {
        struct moe_charset word = {0};
        MOE_TRY(emit(p, parts[i]));
        if (moe_unicode_add_class(&word, "word", 4, MOE_CLASS_ALONE) != MOE_OK) return moe_regex_no_memory(p);
        MOE_TRY(emit_set(p, &word));
    }
    return emit(p, parts[4]);
}

/* `before` LF `after` */
static moe_status emit_with_newline(struct moe_regex_parser *p, const char *before, const char *after) {
    MOE_TRY(emit(p, before));
    MOE_TRY(emit_range(p, '\n', '\n', false));
    return emit(p, after);
}

/* A general newline: CR LF, or one of these. */
static moe_status emit_general_newline(struct moe_regex_parser *p) {
    static const struct moe_range newlines[] = {{0x0A, 0x0D}, {0x85, 0x85}, {0x2028, 0x2029}};
    struct moe_charset set = {0};
    MOE_TRY(emit(p, "(?>"));
    MOE_TRY(emit_range(p, '\r', '\r', false));
    MOE_TRY(emit_with_newline(p, "", "|"));
    if (!moe_charset_add_ranges(&set, newlines, 3)) return moe_regex_no_memory(p);
    MOE_TRY(emit_set(p, &set));
    p->nullable = false;
    return emit(p, ")");
}

/* What a backslash makes of a letter or a digit, if it is no character. */
static moe_status parse_letter_escape(struct moe_regex_parser *p, enum atom *atom) {
    char c = *p->p++;
    *atom = ATOM_ANCHOR;
    p->n_literals = 0;
    switch (c) {
    case 'A':
        return emit(p, "\\A");
    case 'z':
        return emit(p, "\\z");
    case 'Z':
        return emit_with_newline(p, "(?=", "?\\z)");
    case 'b':
        return emit_word_boundary(p, false);
    case 'B':
        return emit_word_boundary(p, true);
    case 'R':
        *atom = ATOM_GROUP;
        return emit_general_newline(p);
    case 'N':
        *atom = ATOM_SET;
        return emit_range(p, '\n', '\n', true);
    case 'O':
        *atom = ATOM_SET;
        return emit_range(p, 0, MOE_MAX_CODE_POINT, false);
    default:
        break;
    }
    char what[] = "\\? is not known here";
    what[1] = c;
    return moe_regex_refuse(p, MOE_E_UNSUPPORTED, what);
}

static moe_status parse_escape(struct moe_regex_parser *p, struct moe_regex_options o, enum atom *atom) {
    struct moe_charset set = {0};
    bool is_literal, known;
    uint32_t literal = 0;
    moe_status status = moe_regex_escape(p, &set, &is_literal, &literal, &known, false);
    *atom = ATOM_SET;
    if (status == MOE_OK && known && !is_literal) {
        p->n_literals = 0;
        return emit_set(p, &set);
    }
    moe_charset_free(&set);
    MOE_TRY(status);
    return known ? parse_literal(p, o, literal) : parse_letter_escape(p, atom);
}

static moe_status parse_class(struct moe_regex_parser *p, struct moe_regex_options o) {
    struct moe_charset set = {0};
    p->n_literals = 0;
    moe_status status = moe_regex_class(p, &set, o.ignore_case);
    if (status == MOE_OK) return emit_set(p, &set);
    moe_charset_free(&set);
    return status;
}

/* ---- groups ------------------------------------------------------------------------------------------- */

/* The rest of a group that `open` begins, through its ')'. */
static moe_status parse_group_body(struct moe_regex_parser *p, struct moe_regex_options o, const char *open) {
    if (++p->depth > MOE_REGEX_MAX_DEPTH) return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "nested too deep");
    MOE_TRY(emit(p, open));
    MOE_TRY(parse_branches(p, o, false));
    if (*p->p != ')') return moe_regex_refuse(p, MOE_E_FORMAT, "a '(' without its ')'");
    p->p++;
    p->depth--;
    return emit(p, ")");
}

/* (?imx-imx) and (?imx-imx:...). Without a colon the option lasts to the end of the group, over its branches:
 * "a(?i)b|c" is "a(?i:b|c)". */
static moe_status parse_options(struct moe_regex_parser *p, struct moe_regex_options o, enum atom *atom) {
    bool on = true;
    for (; *p->p != ')' && *p->p != ':'; p->p++) {
        switch (*p->p) {
        case 'i':
            o.ignore_case = on;
            break;
        case 'm':
            o.dot_all = on;
            break;
        case 'x':
            o.extended = on;
            break;
        case '-':
            on = false;
            break;
        default:
            return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a group of this kind");
        }
    }
    *atom = ATOM_GROUP;
    if (*p->p++ == ':') return parse_group_body(p, o, "(?:");
    if (++p->depth > MOE_REGEX_MAX_DEPTH) return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "nested too deep");
    MOE_TRY(emit(p, "(?:"));
    MOE_TRY(parse_branches(p, o, false)); /* ends where the group around it does: nothing can repeat it */
    p->depth--;
    return emit(p, ")");
}

/* p->p is past '('. Captures are not kept: nothing that is accepted refers to them. */
static moe_status parse_group(struct moe_regex_parser *p, struct moe_regex_options o, enum atom *atom) {
    static const struct {
        const char *open;
        enum atom atom;
    } kinds[] = {{"?:", ATOM_GROUP},  {"?>", ATOM_GROUP},   {"?=", ATOM_ANCHOR},
                 {"?!", ATOM_ANCHOR}, {"?<=", ATOM_ANCHOR}, {"?<!", ATOM_ANCHOR}};
    static const char *const opens[] = {"(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].open);
        if (strncmp(p->p, kinds[i].open, n) != 0) continue;
        p->p += n;
        *atom = kinds[i].atom;
        if (*atom == ATOM_ANCHOR) p->n_literals = 0;
        MOE_TRY(parse_group_body(p, o, opens[i]));
        if (*atom == ATOM_ANCHOR) p->n_literals = 0;
        return MOE_OK;
    }
    *atom = ATOM_GROUP;
    if (*p->p == '*') return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "(*...)");
    if (*p->p != '?') return parse_group_body(p, o, "(?:");
    p->p++;
    if (*p->p == '<' || *p->p == '\'') {
        const char *end = strchr(p->p + 1, *p->p == '<' ? '>' : '\'');
        if (!end || end == p->p + 1)
            return moe_regex_refuse(p, MOE_E_FORMAT, "a group's name without its end");
        p->p = end + 1;
        return parse_group_body(p, o, "(?:");
    }
    return parse_options(p, o, atom);
}

/* ---- pieces ------------------------------------------------------------------------------------------- */

/* Comments, and what the extended form ignores. */
static moe_status skip_ignored(struct moe_regex_parser *p, struct moe_regex_options o) {
    for (;;) {
        if (strncmp(p->p, "(?#", 3) == 0) {
            const char *end = strchr(p->p, ')');
            if (!end) return moe_regex_refuse(p, MOE_E_FORMAT, "a comment without its ')'");
            p->p = end + 1;
        } else if (o.extended && *p->p && strchr(" \t\n\r\f\v", *p->p)) {
            p->p++;
        } else if (o.extended && *p->p == '#') {
            while (*p->p && *p->p != '\n') p->p++;
        } else {
            return MOE_OK;
        }
    }
}

struct quantifier {
    bool found, interval;
    bool fixed; /* {n} */
    unsigned min, max;
};

/* A bound that PCRE2 refuses stands for all larger ones. */
static unsigned bound_of(const char *digits) {
    enum { TOO_MANY = 100000 };
    unsigned long bound = strtoul(digits, NULL, 10);
    return bound < TOO_MANY ? (unsigned)bound : TOO_MANY;
}

/* {n}, {n,}, {,m} or {n,m}; anything else is a literal brace. */
static bool take_interval(struct moe_regex_parser *p, struct quantifier *q) {
    const char *s = p->p + 1;
    size_t n = strspn(s, "0123456789"), m = 0;
    const char *upper = NULL;
    if (s[n] == ',') {
        upper = s + n + 1;
        m = strspn(upper, "0123456789");
    }
    if ((n == 0 && m == 0) || (upper ? upper[m] : s[n]) != '}') return false;
    *q = (struct quantifier){.found = true, .interval = true, .fixed = !upper};
    q->min = bound_of(s); /* of no digits: 0 */
    q->max = !upper ? q->min : m ? bound_of(upper) : UINT_MAX;
    p->p = (upper ? upper + m : s + n) + 1;
    return true;
}

static moe_status parse_atom(struct moe_regex_parser *p, struct moe_regex_options o, enum atom *atom) {
    char c = *p->p;
    *atom = ATOM_NONE;
    if (c == '\0' || c == '|' || c == ')') return MOE_OK;
    *atom = ATOM_SET;
    if (c != '\\' && c != '[' && c != '(' && c != '.' && c != '^' && c != '$') {
        struct quantifier q;
        if (c == '*' || c == '+' || c == '?' || (c == '{' && take_interval(p, &q)))
            return moe_regex_refuse(p, MOE_E_FORMAT, "a quantifier with nothing before it");
        return parse_literal(p, o, moe_regex_take(p));
    }
    p->p++;
    switch (c) {
    case '\\':
        return parse_escape(p, o, atom);
    case '[':
        return parse_class(p, o);
    case '(':
        return parse_group(p, o, atom);
    default:
        break;
    }
    p->n_literals = 0;
    if (c == '.')
        return o.dot_all ? emit_range(p, 0, MOE_MAX_CODE_POINT, false) : emit_range(p, '\n', '\n', true);
    *atom = ATOM_ANCHOR;
    if (c == '^') return emit_with_newline(p, "(?:\\A|(?<=", ")(?!\\z))");
    return emit_with_newline(p, "(?=", "|\\z)");
}

static void take_quantifier(struct moe_regex_parser *p, struct quantifier *q) {
    *q = (struct quantifier){.found = true, .max = UINT_MAX};
    switch (*p->p) {
    case '?':
        q->max = 1;
        break;
    case '*':
        break;
    case '+':
        q->min = 1;
        break;
    case '{':
        if (!take_interval(p, q)) q->found = false;
        return;
    default:
        q->found = false;
        return;
    }
    p->p++;
}

static moe_status emit_quantifier(struct moe_regex_parser *p, const struct quantifier *q) {
    if (q->min > q->max) return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "{n,m} with n above m");
    struct moe_regex_item repeat = {.kind = MOE_REGEX_REPEAT, .min = q->min, .max = q->max};
    MOE_TRY(insert(p, p->program->n_items, repeat));
    /* {n}? and {n,m}+ are two quantifiers here: the second one is met next */
    bool lazy = *p->p == '?' && !q->fixed, possessive = *p->p == '+' && !q->interval;
    if (!lazy && !possessive) return MOE_OK;
    p->p++;
    return emit(p, lazy ? "?" : "+");
}

/* Quantifiers of what begins at item `start`. *unbounded: one, without an upper bound. */
static moe_status parse_quantifiers(struct moe_regex_parser *p, struct moe_regex_options o, size_t start,
                                    enum atom atom, bool *unbounded) {
    struct quantifier q, before = {0};
    *unbounded = false;
    for (;;) {
        MOE_TRY(skip_ignored(p, o));
        take_quantifier(p, &q);
        if (!q.found) return MOE_OK;
        if (atom == ATOM_ANCHOR)
            return moe_regex_refuse(p, MOE_E_FORMAT, "a quantifier of what cannot be repeated");
        /* where such a repetition stops is not the same here and there */
        if (p->nullable && q.max > 1)
            return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a repetition of what can match nothing");
        if (before.found) {
            if (!before.interval)
                return moe_regex_refuse(p, MOE_E_UNSUPPORTED, "a quantifier of a quantifier");
            MOE_TRY(insert(p, start, (struct moe_regex_item){.kind = MOE_REGEX_TEXT, .text = "(?:"}));
            MOE_TRY(emit(p, ")"));
        }
        MOE_TRY(emit_quantifier(p, &q));
        *unbounded = !before.found && q.max == UINT_MAX;
        p->n_literals = 0;
        if (q.min == 0) p->nullable = true;
        before = q;
    }
}

/* A branch that begins with X+ (or X*, X{n,}) and failed at one X fails at the next: what follows was tried
 * at every end of the run already. So a run is entered only at its start, or where the search begins;
 * without that, "\s+$" takes a time quadratic in the length of a run. */
static moe_status guard_run(struct moe_regex_parser *p, size_t start) {
    struct moe_regex_item set = p->program->items[start];
    MOE_TRY(insert(p, start, (struct moe_regex_item){.kind = MOE_REGEX_TEXT, .text = "))"}));
    MOE_TRY(insert(p, start, set));
    return insert(p, start, (struct moe_regex_item){.kind = MOE_REGEX_TEXT, .text = "(?:\\G|(?<!"});
}

static moe_status parse_branch(struct moe_regex_parser *p, struct moe_regex_options o, bool top) {
    size_t start = p->program->n_items, first_end = 0;
    bool run = false, nullable = true;
    for (size_t n = 0;; n++) {
        size_t at = p->program->n_items;
        enum atom atom;
        bool unbounded;
        MOE_TRY(skip_ignored(p, o));
        MOE_TRY(parse_atom(p, o, &atom));
        if (atom == ATOM_NONE) break;
        if (atom == ATOM_SET || atom == ATOM_ANCHOR) p->nullable = atom == ATOM_ANCHOR;
        MOE_TRY(parse_quantifiers(p, o, at, atom, &unbounded));
        nullable = nullable && p->nullable;
        if (n > 0) continue;
        run = top && atom == ATOM_SET && unbounded;
        first_end = p->program->n_items;
    }
    p->nullable = nullable;
    return run && p->program->n_items > first_end ? guard_run(p, start) : MOE_OK;
}

static moe_status parse_branches(struct moe_regex_parser *p, struct moe_regex_options o, bool top) {
    bool nullable = false;
    for (;;) {
        MOE_TRY(parse_branch(p, o, top));
        nullable = nullable || p->nullable;
        p->nullable = nullable;
        if (*p->p != '|') return MOE_OK;
        p->p++;
        p->n_literals = 0;
        MOE_TRY(emit(p, "|"));
    }
}

moe_status moe_regex_parse(struct moe_regex_program *out, const char *pattern, const char *where,
                           moe_error *err) {
    struct moe_regex_parser p = {
        .pattern = pattern, .p = pattern, .where = where, .program = out, .err = err};
    *out = (struct moe_regex_program){0};
    moe_status status = parse_branches(&p, (struct moe_regex_options){0}, true);
    if (status == MOE_OK && *p.p == ')') status = moe_regex_refuse(&p, MOE_E_FORMAT, "a ')' without its '('");
    if (status != MOE_OK) moe_regex_program_free(out);
    return status;
}
