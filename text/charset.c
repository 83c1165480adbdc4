#include "text/charset.h"

#include <stdlib.h>
#include <string.h>

#include "text/buffer.h"

bool moe_charset_append(struct moe_charset *set, uint32_t first, uint32_t last) {
    void *ranges = set->ranges;
    if (!moe_array_grow(&ranges, &set->capacity, set->n, 1, sizeof *set->ranges)) return false;
    set->ranges = ranges;
    set->ranges[set->n++] = (struct moe_range){first, last};
    return true;
}

static int by_first(const void *a, const void *b) {
    const struct moe_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

void moe_charset_tidy(struct moe_charset *set) {
    if (set->n == 0) return;
    qsort(set->ranges, set->n, sizeof *set->ranges, by_first);
    size_t n = 1;
    for (size_t i = 1; i < set->n; i++) {
        struct moe_range *last = &set->ranges[n - 1], next = set->ranges[i];
        if (next.first > last->last + 1)
            set->ranges[n++] = next;
        else if (next.last > last->last)
            last->last = next.last;
    }
    set->n = n;
}

bool moe_charset_add(struct moe_charset *set, uint32_t first, uint32_t last) {
    if (!moe_charset_append(set, first, last)) return false;
    moe_charset_tidy(set);
    return true;
}

bool moe_charset_add_ranges(struct moe_charset *set, const struct moe_range *ranges, size_t n) {
    void *grown = set->ranges;
    if (!moe_array_grow(&grown, &set->capacity, set->n, n, sizeof *set->ranges)) return false;
    set->ranges = grown;
    if (n) memcpy(set->ranges + set->n, ranges, n * sizeof *ranges);
    set->n += n;
    moe_charset_tidy(set);
    return true;
}

bool moe_charset_add_set(struct moe_charset *set, const struct moe_charset *other) {
    return moe_charset_add_ranges(set, other->ranges, other->n);
}

bool moe_charset_invert(struct moe_charset *set) {
    struct moe_charset out = {0};
    uint32_t next = 0;
    for (size_t i = 0; i < set->n; i++) {
        if (set->ranges[i].first > next && !moe_charset_append(&out, next, set->ranges[i].first - 1))
            goto fail;
        next = set->ranges[i].last + 1;
    }
    if (next <= MOE_MAX_CODE_POINT && !moe_charset_append(&out, next, MOE_MAX_CODE_POINT)) goto fail;
    moe_charset_free(set);
    *set = out;
    return true;
fail:
    moe_charset_free(&out);
    return false;
}

bool moe_charset_intersect(struct moe_charset *set, const struct moe_charset *other) {
    struct moe_charset out = {0};
    for (size_t i = 0, j = 0; i < set->n && j < other->n;) {
        struct moe_range a = set->ranges[i], b = other->ranges[j];
        uint32_t first = a.first > b.first ? a.first : b.first, last = a.last < b.last ? a.last : b.last;
        if (first <= last && !moe_charset_append(&out, first, last)) {
            moe_charset_free(&out);
            return false;
        }
        if (a.last < b.last)
            i++;
        else
            j++;
    }
    moe_charset_free(set);
    *set = out;
    return true;
}

bool moe_charset_has(const struct moe_charset *set, uint32_t c) {
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->n && set->ranges[low].first <= c;
}

bool moe_charset_equal(const struct moe_charset *a, const struct moe_charset *b) {
    return a->n == b->n && (a->n == 0 || memcmp(a->ranges, b->ranges, a->n * sizeof *a->ranges) == 0);
}

void moe_charset_free(struct moe_charset *set) {
    free(set->ranges);
    *set = (struct moe_charset){0};
}
