#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <limits.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "text/regex_program.h"
#include "text/characters.h"

enum {
    BLOCK = 256, /* code points that share a row of the table */
    N_BLOCKS = (MOE_MAX_CODE_POINT + 1) / BLOCK,
    MAX_LETTERS = 256,
    /* What one search may cost. The reference stops at 10^7 retries per start; just-in-time code counts more
     * coarsely, and the whole search. */
    MATCH_LIMIT = 100000000,
    HEAP_LIMIT_KIB = 256 * 1024
};

struct moe_regex {
    pcre2_code *code;
    pcre2_match_context *context;
    bool matches_empty;
    char *where, *pattern;
    uint16_t block[N_BLOCKS]; /* code point / BLOCK -> row */
    unsigned char (*rows)[BLOCK];
};

/* ---- the alphabet ------------------------------------------------------------------------------------- */

/* Every letter's membership: bit s of bits[letter] is set if its code points are in set s. */
struct alphabet {
    size_t n, n_words;
    uint64_t *bits; /* [MAX_LETTERS, n_words] */
};

struct boundary {
    uint32_t code_point; /* where membership of `set` changes */
    uint32_t set;
};

static int by_code_point(const void *a, const void *b) {
    const struct boundary *x = a, *y = b;
    return (x->code_point > y->code_point) - (x->code_point < y->code_point);
}

static struct boundary *list_boundaries(const struct moe_regex_program *program, size_t *n) {
    size_t n_ranges = 0;
    for (size_t s = 0; s < program->n_sets; s++) n_ranges += program->sets[s].n;
    struct boundary *list = malloc((2 * n_ranges + 1) * sizeof *list);
    if (!list) return NULL;
    *n = 0;
    for (size_t s = 0; s < program->n_sets; s++) {
        for (size_t i = 0; i < program->sets[s].n; i++) {
            struct moe_range r = program->sets[s].ranges[i];
            list[(*n)++] = (struct boundary){r.first, (uint32_t)s};
            list[(*n)++] = (struct boundary){r.last + 1, (uint32_t)s};
        }
    }
    qsort(list, *n, sizeof *list, by_code_point);
    return list;
}

/* The letter of a membership, a new one if need be; -1 if there are too many. */
static int letter_of(struct alphabet *a, const uint64_t *bits) {
    for (size_t i = 0; i < a->n; i++)
        if (memcmp(a->bits + i * a->n_words, bits, a->n_words * sizeof *bits) == 0) return (int)i;
    if (a->n == MAX_LETTERS) return -1;
    memcpy(a->bits + a->n * a->n_words, bits, a->n_words * sizeof *bits);
    return (int)a->n++;
}

/* Gives every code point its letter: `letters` [MOE_MAX_CODE_POINT + 1]. */
static moe_status assign_letters(struct alphabet *a, unsigned char *letters,
                                 const struct moe_regex_program *program) {
    size_t n, i = 0;
    struct boundary *list = list_boundaries(program, &n);
    uint64_t *bits = calloc(a->n_words, sizeof *bits);
    moe_status status = list && bits ? MOE_OK : MOE_E_MEMORY;
    for (uint32_t from = 0; status == MOE_OK && from <= MOE_MAX_CODE_POINT;) {
        for (; i < n && list[i].code_point == from; i++)
            bits[list[i].set / 64] ^= UINT64_C(1) << list[i].set % 64;
        uint32_t to =
            i < n && list[i].code_point <= MOE_MAX_CODE_POINT ? list[i].code_point : MOE_MAX_CODE_POINT + 1;
        int letter = letter_of(a, bits);
        if (letter < 0)
            status = MOE_E_UNSUPPORTED;
        else
            memset(letters + from, letter, to - from);
        from = to;
    }
    free(list);
    free(bits);
    return status;
}

/* Keeps one of equal rows. */
static bool fold_rows(struct moe_regex *regex, const unsigned char *letters) {
    enum { SLOTS = 16384 };
    uint16_t *slots = calloc(SLOTS, sizeof *slots); /* row + 1 */
    regex->rows = malloc((size_t)N_BLOCKS * BLOCK);
    size_t n = 0;
    for (size_t b = 0; slots && regex->rows && b < N_BLOCKS; b++) {
        const unsigned char *row = letters + b * BLOCK;
        size_t slot = XXH3_64bits(row, BLOCK) % SLOTS;
        while (slots[slot] && memcmp(regex->rows[slots[slot] - 1], row, BLOCK) != 0)
            slot = (slot + 1) % SLOTS;
        if (!slots[slot]) {
            memcpy(regex->rows[n], row, BLOCK);
            slots[slot] = (uint16_t)++n;
        }
        regex->block[b] = (uint16_t)(slots[slot] - 1);
    }
    bool ok = slots && regex->rows;
    free(slots);
    if (!ok) return false;
    void *shrunk = realloc(regex->rows, n * BLOCK);
    if (shrunk) regex->rows = shrunk;
    return true;
}

/* ---- compiling ---------------------------------------------------------------------------------------- */

/* One set as PCRE2 reads it: a letter, or a class of letters. */
static bool write_set(struct moe_bytes *out, const struct alphabet *a, size_t set) {
    char text[16];
    size_t n_in = 0, last = 0;
    for (size_t i = 0; i < a->n; i++) {
        if (!(a->bits[i * a->n_words + set / 64] >> set % 64 & 1)) continue;
        n_in++;
        last = i;
    }
    if (n_in == 0) return moe_bytes_append(out, "(?!)", 4);
    if (n_in == 1)
        return moe_bytes_append(out, text, (size_t)snprintf(text, sizeof text, "\\x%02x", (unsigned)last));
    if (!moe_bytes_append(out, "[", 1)) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!(a->bits[i * a->n_words + set / 64] >> set % 64 & 1)) continue;
        if (!moe_bytes_append(out, text, (size_t)snprintf(text, sizeof text, "\\x%02x", (unsigned)i)))
            return false;
    }
    return moe_bytes_append(out, "]", 1);
}

static bool write_pattern(struct moe_bytes *out, const struct alphabet *a,
                          const struct moe_regex_program *program) {
    for (size_t i = 0; i < program->n_items; i++) {
        const struct moe_regex_item *item = &program->items[i];
        char text[32];
        const char *s = text;
        if (item->kind == MOE_REGEX_SET) {
            if (!write_set(out, a, item->set)) return false;
            continue;
        }
        if (item->kind == MOE_REGEX_TEXT)
            s = item->text;
        else if (item->max == UINT_MAX)
            snprintf(text, sizeof text, "{%u,}", item->min);
        else
            snprintf(text, sizeof text, "{%u,%u}", item->min, item->max);
        if (!moe_bytes_append(out, s, strlen(s))) return false;
    }
    return true;
}

static moe_status fail_pattern(const struct moe_regex *regex, const char *what, moe_error *err) {
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: regular expression %.160s%s: %s", regex->where,
                    regex->pattern, strlen(regex->pattern) > 160 ? "..." : "", what);
}

static moe_status compile(struct moe_regex *regex, const struct moe_bytes *pattern, moe_error *err) {
    int code;
    size_t offset;
    regex->context = pcre2_match_context_create(NULL);
    /* Without two optimizations that lose matches in 10.42, and would save little: nearly every place is a
     * match, and guard_run saves the rest. (?>[a-c].+?)(?<=c) is not found in "abc" by just-in-time code with
     * start optimizations, b*(?:Ea)?+[a-z] not in "b" when b* is made possessive. */
    const uint32_t options = PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C |
                             PCRE2_NO_START_OPTIMIZE | PCRE2_NO_AUTO_POSSESS;
    regex->code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->n, options, &code, &offset, NULL);
    if (!regex->code && code != PCRE2_ERROR_HEAP_FAILED) {
        char what[160] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)what, sizeof what);
        return fail_pattern(regex, what, err);
    }
    if (!regex->code || !regex->context)
        return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", regex->where);
    pcre2_set_match_limit(regex->context, MATCH_LIMIT);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
    /* without just-in-time code (no permission, no such processor) the same matches are found more slowly */
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    uint32_t empty = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_MATCHEMPTY, &empty);
    regex->matches_empty = empty != 0;
    return MOE_OK;
}

static moe_status build(struct moe_regex *regex, const struct moe_regex_program *program, moe_error *err) {
    struct alphabet a = {.n_words = program->n_sets / 64 + 1};
    struct moe_bytes pattern = {0};
    unsigned char *letters = malloc(MOE_MAX_CODE_POINT + 1);
    a.bits = malloc(MAX_LETTERS * a.n_words * sizeof *a.bits);
    moe_status status = letters && a.bits ? assign_letters(&a, letters, program) : MOE_E_MEMORY;
    if (status == MOE_OK &&
        (!fold_rows(regex, letters) || !moe_bytes_grow(&pattern, 1) || !write_pattern(&pattern, &a, program)))
        status = MOE_E_MEMORY;
    if (status == MOE_E_UNSUPPORTED)
        fail_pattern(regex, "its classes tell more than 256 kinds of characters apart", err);
    else if (status == MOE_E_MEMORY)
        MOE_FAIL(err, status, "%s: out of memory", regex->where);
    else
        status = compile(regex, &pattern, err);
    moe_bytes_free(&pattern);
    free(letters);
    free(a.bits);
    return status;
}

moe_status moe_regex_open(struct moe_regex **out, const char *pattern, const char *where, moe_error *err) {
    struct moe_regex_program program;
    *out = NULL;
    MOE_TRY(moe_regex_parse(&program, pattern, where, err));
    struct moe_regex *regex = calloc(1, sizeof *regex);
    moe_status status = MOE_OK;
    if (!regex || !(regex->where = moe_text_copy(where, strlen(where))) ||
        !(regex->pattern = moe_text_copy(pattern, strlen(pattern))))
        status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", where);
    else
        status = build(regex, &program, err);
    moe_regex_program_free(&program);
    if (status == MOE_OK)
        *out = regex;
    else
        moe_regex_close(regex);
    return status;
}

void moe_regex_close(struct moe_regex *regex) {
    if (!regex) return;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->context);
    free(regex->rows);
    free(regex->where);
    free(regex->pattern);
    free(regex);
}

bool moe_regex_matches_empty(const struct moe_regex *regex) {
    return regex->matches_empty;
}

/* ---- matching ----------------------------------------------------------------------------------------- */

moe_status moe_regex_scan_begin(struct moe_regex_scan *scan, const struct moe_regex *regex, const char *text,
                                size_t n, moe_error *err) {
    scan->regex = regex;
    scan->text = text;
    scan->next = scan->characters = scan->bytes = 0;
    scan->skip_empty = false;
    scan->alphabet.n = 0;
    if (!scan->match) scan->match = pcre2_match_data_create(1, NULL);
    if (!scan->match || !moe_bytes_grow(&scan->alphabet, n + 1))
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    const unsigned char *ascii = regex->rows[regex->block[0]];
    char *out = scan->alphabet.data;
    for (size_t i = 0; i < n;) {
        uint32_t c = (unsigned char)text[i];
        if (c < 0x80) {
            *out++ = (char)ascii[c];
            i++;
            continue;
        }
        i += moe_char_decode(&c, text + i);
        *out++ = (char)regex->rows[regex->block[c / BLOCK]][c % BLOCK];
    }
    scan->alphabet.n = (size_t)(out - scan->alphabet.data);
    return MOE_OK;
}

/* Where a character begins, in bytes; places asked for never go back. */
static size_t byte_of(struct moe_regex_scan *scan, size_t character) {
    while (scan->characters < character) {
        scan->bytes += moe_char_length(scan->text[scan->bytes]);
        scan->characters++;
    }
    return scan->bytes;
}

static int search(const struct moe_regex_scan *scan) {
    PCRE2_SPTR subject = (PCRE2_SPTR)scan->alphabet.data;
    int rc = pcre2_match(scan->regex->code, subject, scan->alphabet.n, scan->next, 0, scan->match,
                         scan->regex->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack on the heap */
        rc = pcre2_match(scan->regex->code, subject, scan->alphabet.n, scan->next, PCRE2_NO_JIT, scan->match,
                         scan->regex->context);
    return rc;
}

moe_status moe_regex_scan_next(struct moe_regex_scan *scan, bool *found, size_t *start, size_t *end,
                               moe_error *err) {
    *found = false;
    while (scan->next <= scan->alphabet.n) {
        int rc = search(scan);
        if (rc == PCRE2_ERROR_NOMATCH) break;
        if (rc == PCRE2_ERROR_NOMEMORY) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
        if (rc < 0) return fail_pattern(scan->regex, "takes too many steps on this text", err);
        const size_t *span = pcre2_get_ovector_pointer(scan->match);
        bool empty = span[0] == span[1], skip = empty && scan->skip_empty;
        scan->next = span[1] + empty;
        scan->skip_empty = !empty; /* the reference passes over the first empty match after any other */
        if (skip) continue;
        *found = true;
        *start = byte_of(scan, span[0]);
        *end = byte_of(scan, span[1]);
        return MOE_OK;
    }
    scan->next = SIZE_MAX;
    return MOE_OK;
}

void moe_regex_scan_free(struct moe_regex_scan *scan) {
    pcre2_match_data_free(scan->match);
    moe_bytes_free(&scan->alphabet);
    *scan = (struct moe_regex_scan){0};
}
