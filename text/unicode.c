#include "text/unicode.h"

#include <string.h>

#include "text/unicode_tables.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- general categories ------------------------------------------------------------------------------- */

static unsigned category_of(uint32_t c) {
    size_t low = 0, high = COUNT(gc_runs);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (gc_runs[middle] >> 8 <= c)
            low = middle;
        else
            high = middle;
    }
    unsigned category = gc_runs[low] & 0xFF;
    if (category != GC_ALTERNATING) return category;
    return (c - (gc_runs[low] >> 8)) % 2 ? GC_LL : GC_LU;
}

#define BIT(category) (UINT32_C(1) << (category))

enum {
    LETTERS = 1 << GC_LU | 1 << GC_LL | 1 << GC_LT | 1 << GC_LM | 1 << GC_LO,
    MARKS = 1 << GC_MN | 1 << GC_MC | 1 << GC_ME,
    NUMBERS = 1 << GC_ND | 1 << GC_NL | 1 << GC_NO,
    PUNCTUATION = 1 << GC_PC | 1 << GC_PD | 1 << GC_PS | 1 << GC_PE | 1 << GC_PI | 1 << GC_PF | 1 << GC_PO,
    SYMBOLS = 1 << GC_SM | 1 << GC_SC | 1 << GC_SK | 1 << GC_SO,
    SEPARATORS = 1 << GC_ZS | 1 << GC_ZL | 1 << GC_ZP,
    OTHERS = 1 << GC_CC | 1 << GC_CF | 1 << GC_CS | 1 << GC_CO | 1 << GC_CN
};

static bool add_categories(struct moe_charset *set, uint32_t categories) {
    for (size_t i = 0; i < COUNT(gc_runs); i++) {
        uint32_t first = gc_runs[i] >> 8, category = gc_runs[i] & 0xFF;
        uint32_t end = i + 1 < COUNT(gc_runs) ? gc_runs[i + 1] >> 8 : MOE_MAX_CODE_POINT + 1;
        if (category != GC_ALTERNATING) {
            if (categories & BIT(category) && !moe_charset_append(set, first, end - 1)) return false;
            continue;
        }
        for (uint32_t c = first; c < end; c++)
            if (categories & BIT((c - first) % 2 ? GC_LL : GC_LU) && !moe_charset_append(set, c, c))
                return false;
    }
    moe_charset_tidy(set);
    return true;
}

/* ---- classes by name ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t categories;
} category_names[] = {
    {"l", LETTERS},
    {"letter", LETTERS},
    {"lu", BIT(GC_LU)},
    {"uppercaseletter", BIT(GC_LU)},
    {"ll", BIT(GC_LL)},
    {"lowercaseletter", BIT(GC_LL)},
    {"lt", BIT(GC_LT)},
    {"titlecaseletter", BIT(GC_LT)},
    {"lc", BIT(GC_LU) | BIT(GC_LL) | BIT(GC_LT)},
    {"casedletter", BIT(GC_LU) | BIT(GC_LL) | BIT(GC_LT)},
    {"lm", BIT(GC_LM)},
    {"modifierletter", BIT(GC_LM)},
    {"lo", BIT(GC_LO)},
    {"otherletter", BIT(GC_LO)},
    {"m", MARKS},
    {"mark", MARKS},
    {"mn", BIT(GC_MN)},
    {"nonspacingmark", BIT(GC_MN)},
    {"mc", BIT(GC_MC)},
    {"spacingmark", BIT(GC_MC)},
    {"me", BIT(GC_ME)},
    {"enclosingmark", BIT(GC_ME)},
    {"n", NUMBERS},
    {"number", NUMBERS},
    {"nd", BIT(GC_ND)},
    {"decimalnumber", BIT(GC_ND)},
    {"digit", BIT(GC_ND)},
    {"nl", BIT(GC_NL)},
    {"letternumber", BIT(GC_NL)},
    {"no", BIT(GC_NO)},
    {"othernumber", BIT(GC_NO)},
    {"p", PUNCTUATION},
    {"punctuation", PUNCTUATION},
    {"pc", BIT(GC_PC)},
    {"connectorpunctuation", BIT(GC_PC)},
    {"pd", BIT(GC_PD)},
    {"dashpunctuation", BIT(GC_PD)},
    {"ps", BIT(GC_PS)},
    {"openpunctuation", BIT(GC_PS)},
    {"pe", BIT(GC_PE)},
    {"closepunctuation", BIT(GC_PE)},
    {"pi", BIT(GC_PI)},
    {"initialpunctuation", BIT(GC_PI)},
    {"pf", BIT(GC_PF)},
    {"finalpunctuation", BIT(GC_PF)},
    {"po", BIT(GC_PO)},
    {"otherpunctuation", BIT(GC_PO)},
    {"s", SYMBOLS},
    {"symbol", SYMBOLS},
    {"sm", BIT(GC_SM)},
    {"mathsymbol", BIT(GC_SM)},
    {"sc", BIT(GC_SC)},
    {"currencysymbol", BIT(GC_SC)},
    {"sk", BIT(GC_SK)},
    {"modifiersymbol", BIT(GC_SK)},
    {"so", BIT(GC_SO)},
    {"othersymbol", BIT(GC_SO)},
    {"z", SEPARATORS},
    {"separator", SEPARATORS},
    {"zs", BIT(GC_ZS)},
    {"spaceseparator", BIT(GC_ZS)},
    {"zl", BIT(GC_ZL)},
    {"lineseparator", BIT(GC_ZL)},
    {"zp", BIT(GC_ZP)},
    {"paragraphseparator", BIT(GC_ZP)},
    {"c", OTHERS},
    {"other", OTHERS},
    {"cc", BIT(GC_CC)},
    {"control", BIT(GC_CC)},
    {"cntrl", BIT(GC_CC)},
    {"cf", BIT(GC_CF)},
    {"format", BIT(GC_CF)},
    {"cs", BIT(GC_CS)},
    {"surrogate", BIT(GC_CS)},
    {"co", BIT(GC_CO)},
    {"privateuse", BIT(GC_CO)},
    {"cn", BIT(GC_CN)},
    {"unassigned", BIT(GC_CN)},
    {"any", LETTERS | MARKS | NUMBERS | PUNCTUATION | SYMBOLS | SEPARATORS | OTHERS},
    {"assigned", LETTERS | MARKS | NUMBERS | PUNCTUATION | SYMBOLS | SEPARATORS | (OTHERS & ~BIT(GC_CN))},
};

/* Symmetric difference: what is in one of the two. */
static bool flip(struct moe_charset *set, const struct moe_range *ranges, size_t n) {
    struct moe_charset flips = {0}, outside = {0};
    bool ok = moe_charset_add_ranges(&flips, ranges, n);
    ok &= moe_charset_add_set(&outside, set);
    ok &= moe_charset_invert(&outside);
    ok &= moe_charset_intersect(&outside, &flips);
    ok &= moe_charset_invert(&flips);
    ok &= moe_charset_intersect(set, &flips);
    ok &= moe_charset_add_set(set, &outside);
    moe_charset_free(&flips);
    moe_charset_free(&outside);
    return ok;
}

/* Here and below, what comes after a failure is done for nothing: a set that lacks something stays a set. */
static bool add_flipped(struct moe_charset *set, uint32_t categories, const struct moe_range *ranges,
                        size_t n) {
    bool ok = add_categories(set, categories);
    ok &= flip(set, ranges, n);
    return ok;
}

static bool add_alphabetic(struct moe_charset *set) {
    return add_flipped(set, LETTERS | MARKS | BIT(GC_NL), alpha_flips, COUNT(alpha_flips));
}

static bool add_alnum(struct moe_charset *set) {
    bool ok = add_alphabetic(set);
    ok &= add_categories(set, BIT(GC_ND));
    return ok;
}

static bool add_with(struct moe_charset *set, uint32_t categories, const struct moe_range *ranges, size_t n) {
    bool ok = add_categories(set, categories);
    ok &= moe_charset_add_ranges(set, ranges, n);
    return ok;
}

/* The reference looks code points below 256 up in an older table when the class stands alone. */
static bool add_word(struct moe_charset *set, enum moe_class_place place) {
    static const struct moe_range latin1[] = {{178, 179}, {185, 185}, {188, 190}};
    bool ok = add_alphabetic(set);
    ok &= add_with(set, LETTERS | MARKS | BIT(GC_ND) | BIT(GC_NL) | BIT(GC_PC), latin1,
                   place == MOE_CLASS_ALONE ? COUNT(latin1) : 0);
    return ok;
}

/* graph and print: all but some */
static bool add_but(struct moe_charset *set, uint32_t categories, const struct moe_range *ranges, size_t n) {
    bool ok = add_with(set, categories, ranges, n);
    ok &= moe_charset_invert(set);
    return ok;
}

/* The classes that are not categories. */
static moe_status add_posix(struct moe_charset *set, const char *name, enum moe_class_place place) {
    static const struct moe_range hex_digits[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
    static const struct moe_range spaces[] = {{0x09, 0x0D}, {0x85, 0x85}}, tab[] = {{'\t', '\t'}};
    static const struct moe_range lines[] = {{0x2028, 0x2029}}, next_line[] = {{0x85, 0x85}};
    const uint32_t no_print = BIT(GC_CC) | BIT(GC_CN);
    bool ok;
    if (strcmp(name, "word") == 0)
        ok = add_word(set, place);
    else if (strcmp(name, "space") == 0 || strcmp(name, "whitespace") == 0)
        ok = add_with(set, SEPARATORS, spaces, COUNT(spaces));
    else if (strcmp(name, "alpha") == 0 || strcmp(name, "alphabetic") == 0)
        ok = add_alphabetic(set);
    else if (strcmp(name, "alnum") == 0)
        ok = add_alnum(set);
    else if (strcmp(name, "lower") == 0 || strcmp(name, "lowercase") == 0)
        ok = add_flipped(set, BIT(GC_LL), lower_flips, COUNT(lower_flips));
    else if (strcmp(name, "upper") == 0 || strcmp(name, "uppercase") == 0)
        ok = add_flipped(set, BIT(GC_LU), upper_flips, COUNT(upper_flips));
    else if (strcmp(name, "punct") == 0)
        ok = add_categories(set, PUNCTUATION | (place == MOE_CLASS_IN_BRACKET ? (uint32_t)SYMBOLS : 0));
    else if (strcmp(name, "blank") == 0)
        ok = add_with(set, BIT(GC_ZS), tab, COUNT(tab));
    else if (strcmp(name, "xdigit") == 0)
        ok = moe_charset_add_ranges(set, hex_digits, COUNT(hex_digits));
    else if (strcmp(name, "ascii") == 0)
        ok = moe_charset_add(set, 0, 0x7F);
    else if (strcmp(name, "print") == 0)
        ok = add_but(set, no_print, lines, COUNT(lines));
    else if (strcmp(name, "graph") == 0)
        ok = add_but(set, no_print | SEPARATORS, next_line, COUNT(next_line));
    else
        return MOE_E_UNSUPPORTED;
    return ok ? MOE_OK : MOE_E_MEMORY;
}

static moe_status add_named(struct moe_charset *set, const char *name, enum moe_class_place place) {
    for (size_t i = 0; i < COUNT(category_names) && place != MOE_CLASS_IN_BRACKET; i++)
        if (strcmp(name, category_names[i].name) == 0)
            return add_categories(set, category_names[i].categories) ? MOE_OK : MOE_E_MEMORY;
    for (size_t i = 0; i < COUNT(scripts) && place != MOE_CLASS_IN_BRACKET; i++)
        if (strcmp(name, scripts[i].name) == 0)
            return moe_charset_add_ranges(set, scripts[i].ranges, scripts[i].n) ? MOE_OK : MOE_E_MEMORY;
    if (place == MOE_CLASS_IN_BRACKET && strcmp(name, "digit") == 0)
        return add_categories(set, BIT(GC_ND)) ? MOE_OK : MOE_E_MEMORY;
    if (place == MOE_CLASS_IN_BRACKET && strcmp(name, "cntrl") == 0)
        return add_categories(set, BIT(GC_CC)) ? MOE_OK : MOE_E_MEMORY;
    return add_posix(set, name, place);
}

moe_status moe_unicode_add_class(struct moe_charset *set, const char *name, size_t n,
                                 enum moe_class_place place) {
    char key[32];
    size_t n_key = 0;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (place != MOE_CLASS_IN_BRACKET) {
            if (c == ' ' || c == '-' || c == '_') continue;
            if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        }
        if (n_key + 1 == sizeof key) return MOE_E_UNSUPPORTED;
        key[n_key++] = c;
    }
    key[n_key] = '\0';
    /* complements and intersections are taken of what is added alone */
    struct moe_charset class = {0};
    moe_status status = add_named(&class, key, place);
    if (status == MOE_OK && !moe_charset_add_set(set, &class)) status = MOE_E_MEMORY;
    moe_charset_free(&class);
    return status;
}

/* ---- case folding ------------------------------------------------------------------------------------- */

/* The next of those that are the same but for case; itself if there is no other. */
static uint32_t next_in_orbit(uint32_t c) {
    for (size_t i = 0; i < COUNT(fold_runs) && fold_runs[i].first <= c; i++) {
        const struct fold_run *run = &fold_runs[i];
        if (c <= run->last && (c - run->first) % (uint32_t)run->stride == 0) return c + (uint32_t)run->delta;
    }
    return c;
}

static uint32_t least_in_orbit(uint32_t c) {
    uint32_t least = c;
    for (uint32_t next = next_in_orbit(c); next != c; next = next_in_orbit(next))
        if (next < least) least = next;
    return least;
}

/* One step along the orbits, of every member. */
static bool step_orbits(struct moe_charset *out, const struct moe_charset *set) {
    for (size_t i = 0; i < COUNT(fold_runs); i++) {
        const struct fold_run *run = &fold_runs[i];
        for (uint32_t c = run->first; c <= run->last; c += (uint32_t)run->stride) {
            if (!moe_charset_has(set, c)) continue;
            uint32_t other = c + (uint32_t)run->delta;
            if (!moe_charset_append(out, other, other)) return false;
        }
    }
    moe_charset_tidy(out);
    return true;
}

bool moe_unicode_close_over_case(struct moe_charset *set) {
    enum { LONGEST_ORBIT = 4 };
    for (int step = 1; step < LONGEST_ORBIT; step++) {
        struct moe_charset more = {0};
        bool ok = step_orbits(&more, set);
        ok &= moe_charset_add_set(set, &more);
        moe_charset_free(&more);
        if (!ok) return false;
    }
    return true;
}

bool moe_unicode_folds_to_several(uint32_t c) {
    for (size_t i = 0; i < COUNT(multi_folds); i++)
        if (multi_folds[i][0] == c) return true;
    return false;
}

bool moe_unicode_has_several(const struct moe_charset *set) {
    for (size_t i = 0; i < COUNT(multi_folds); i++)
        if (moe_charset_has(set, multi_folds[i][0])) return true;
    return false;
}

bool moe_unicode_ends_in_fold(const uint32_t *literals, size_t n) {
    for (size_t i = 0; i < COUNT(multi_folds); i++) {
        size_t length = multi_folds[i][3] ? 3 : 2, matched = 0;
        if (length > n) continue;
        while (matched < length &&
               least_in_orbit(literals[n - length + matched]) == multi_folds[i][1 + matched])
            matched++;
        if (matched == length) return true;
    }
    return false;
}

/* ---- single code points ------------------------------------------------------------------------------- */

static bool in_ranges(const struct moe_range *ranges, size_t n, uint32_t c) {
    const struct moe_charset set = {.ranges = (struct moe_range *)(uintptr_t)ranges, .n = n};
    return moe_charset_has(&set, c);
}

bool moe_unicode_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
    return c == 0x85 || (BIT(category_of(c)) & SEPARATORS) != 0;
}

bool moe_unicode_is_word(uint32_t c) {
    const uint32_t word = LETTERS | MARKS | BIT(GC_ND) | BIT(GC_NL) | BIT(GC_PC);
    if (BIT(category_of(c)) & word || c == 0x200C || c == 0x200D) return true;
    return in_ranges(alpha_flips, COUNT(alpha_flips), c); /* outside the categories, a flip adds */
}

bool moe_unicode_is_numeric(uint32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    return (BIT(category_of(c)) & NUMBERS) != 0 || in_ranges(numeric_flips, COUNT(numeric_flips), c);
}

bool moe_unicode_is_inert(uint32_t c) {
    return category_of(c) == GC_CN || in_ranges(inert_ranges, COUNT(inert_ranges), c);
}
