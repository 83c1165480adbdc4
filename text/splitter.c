#include "text/splitter.h"

#include "text/characters.h"

/* Matches and what lies between them go in, in order; pieces come out. One piece is held back, because the
 * next part may be joined to it. */
struct splitter {
    enum moe_split_behavior behavior;
    moe_split_sink *sink;
    void *context;
    bool holds, was_match;
    size_t start, end; /* of what is held */
};

static bool flush(struct splitter *s) {
    bool holds = s->holds && s->end > s->start;
    s->holds = false;
    return !holds || s->sink(s->context, s->start, s->end);
}

/* Whether a part is joined to the one before it. */
static bool joins(const struct splitter *s, bool is_match) {
    if (!s->holds) return false;
    switch (s->behavior) {
    case MOE_SPLIT_CONTIGUOUS:
        return is_match == s->was_match;
    case MOE_SPLIT_MERGED_WITH_PREVIOUS:
        return is_match && !s->was_match;
    case MOE_SPLIT_MERGED_WITH_NEXT:
        return !is_match && s->was_match;
    default:
        return false;
    }
}

static bool add_part(struct splitter *s, size_t start, size_t end, bool is_match) {
    if (joins(s, is_match)) {
        s->end = end;
    } else {
        if (!flush(s)) return false;
        s->holds = s->behavior != MOE_SPLIT_REMOVED || !is_match;
        s->start = start;
        s->end = end;
    }
    s->was_match = is_match;
    return true;
}

moe_status moe_split_by_pattern(struct moe_matcher *matcher, const struct moe_pattern *pattern,
                                const char *text, size_t n, enum moe_split_behavior behavior, bool invert,
                                moe_split_sink *sink, void *context, moe_error *err) {
    struct splitter s = {.behavior = behavior, .sink = sink, .context = context};
    size_t done = 0, start, end;
    bool found = true, ok = true;
    MOE_TRY(moe_matcher_begin(matcher, pattern, text, n, err));
    while (ok) {
        MOE_TRY(moe_matcher_next(matcher, &found, &start, &end, err));
        if (!found) break;
        if (start != done) ok = add_part(&s, done, start, invert);
        ok = ok && add_part(&s, start, end, !invert);
        done = end;
    }
    if (ok && done != n) ok = add_part(&s, done, n, invert);
    return ok && flush(&s) ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}

bool moe_split_by_character(const char *text, size_t n, moe_split_test *is_match, const void *test_context,
                            enum moe_split_behavior behavior, moe_split_sink *sink, void *context) {
    struct splitter s = {.behavior = behavior, .sink = sink, .context = context};
    size_t done = 0;
    for (size_t i = 0; i < n;) {
        size_t length = moe_char_length(text[i]), at = i;
        i += length;
        if (!is_match(test_context, text + at, length)) continue;
        if (done < at && !add_part(&s, done, at, false)) return false;
        if (!add_part(&s, at, i, true)) return false;
        done = i;
    }
    if (done < n && !add_part(&s, done, n, false)) return false;
    return flush(&s);
}
