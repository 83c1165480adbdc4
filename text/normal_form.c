/* Decomposition and composition are utf8proc's, code point by code point, for what the reference's older
 * tables know; what they do not is passed over (moe_unicode_is_inert). Between the two, marks are put in
 * order here: utf8proc's own sort is quadratic in the length of a run of marks, and a run may be as long as a
 * prompt. */
#include "text/normal_form.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/unicode.h"
#include "text/characters.h"

enum { LONGEST_DECOMPOSITION = 32 }; /* utf8proc's longest is 18 */

struct decomposed {
    int32_t *data;
    unsigned char *class; /* combining class; INERT is none of them */
    size_t n, capacity, class_capacity;
};

enum { INERT = 255 };

/* Below this, no code point changes, and none is a mark. */
static uint32_t first_unstable(enum moe_normal_form form) {
    static const uint32_t firsts[] = {
        [MOE_NFC] = 0x300, [MOE_NFD] = 0xC0, [MOE_NFKC] = 0xA0, [MOE_NFKD] = 0xA0};
    return firsts[form];
}

static bool grow(struct decomposed *d, size_t extra) {
    void *data = d->data, *class = d->class;
    bool ok = moe_array_grow(&data, &d->capacity, d->n, extra, sizeof *d->data);
    d->data = data;
    ok = ok && moe_array_grow(&class, &d->class_capacity, d->n, extra, 1);
    d->class = class;
    return ok;
}

static bool decompose(struct decomposed *d, const char *text, size_t n, enum moe_normal_form form) {
    int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (form == MOE_NFKC || form == MOE_NFKD) options |= UTF8PROC_COMPAT;
    d->n = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        i += moe_char_decode(&c, text + i);
        if (!grow(d, LONGEST_DECOMPOSITION)) return false;
        if (moe_unicode_is_inert(c)) {
            d->class[d->n] = INERT;
            d->data[d->n++] = (int32_t)c;
            continue;
        }
        int boundary = 0;
        utf8proc_ssize_t length = utf8proc_decompose_char((int32_t)c, d->data + d->n, LONGEST_DECOMPOSITION,
                                                          (utf8proc_option_t)options, &boundary);
        for (utf8proc_ssize_t k = 0; k < length; k++, d->n++)
            d->class[d->n] = (unsigned char)utf8proc_get_property(d->data[d->n])->combining_class;
    }
    return true;
}

/* Sorts a run of marks by class, keeping the order of equals: by insertion, or counted. */
static bool order_run(int32_t *data, unsigned char *class, size_t n) {
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            int32_t c = data[i];
            unsigned char k = class[i];
            size_t j = i;
            for (; j > 0 && class[j - 1] > k; j--) {
                data[j] = data[j - 1];
                class[j] = class[j - 1];
            }
            data[j] = c;
            class[j] = k;
        }
        return true;
    }
    size_t start[257] = {0};
    int32_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted) return false;
    for (size_t i = 0; i < n; i++) start[class[i] + 1]++;
    for (size_t k = 1; k < 257; k++) start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++) sorted[start[class[i]]++] = data[i];
    memcpy(data, sorted, n * sizeof *sorted);
    free(sorted);
    for (size_t k = 0, i = 0; k < 256; k++)
        for (; i < start[k]; i++) class[i] = (unsigned char)k;
    return true;
}

static bool order_marks(struct decomposed *d) {
    for (size_t i = 0; i < d->n;) {
        size_t first = i;
        while (i < d->n && d->class[i] != 0 && d->class[i] != INERT) i++;
        if (i - first > 1 && !order_run(d->data + first, d->class + first, i - first)) return false;
        if (i == first) i++;
    }
    return true;
}

/* Composes between inert code points, which nothing combines with or across. */
static void compose(struct decomposed *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n;) {
        size_t first = i;
        while (i < d->n && d->class[i] != INERT) i++;
        if (i > first) {
            utf8proc_ssize_t length = utf8proc_normalize_utf32(d->data + first, (utf8proc_ssize_t)(i - first),
                                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE);
            memmove(d->data + n, d->data + first, (size_t)length * sizeof *d->data);
            n += (size_t)length;
        }
        if (i < d->n) d->data[n++] = d->data[i++];
    }
    d->n = n;
}

static bool transform(struct moe_bytes *out, struct decomposed *d, const char *text, size_t n,
                      enum moe_normal_form form) {
    if (!decompose(d, text, n, form) || !order_marks(d)) return false;
    if (form == MOE_NFC || form == MOE_NFKC) compose(d);
    if (!moe_bytes_grow(out, 4 * d->n)) return false;
    for (size_t i = 0; i < d->n; i++) out->n += moe_char_encode(out->data + out->n, (uint32_t)d->data[i]);
    return true;
}

moe_status moe_normal_form(struct moe_bytes *out, const char *text, size_t n, enum moe_normal_form form,
                           moe_error *err) {
    struct decomposed d = {0};
    const char *end = text + n, *done = text, *p = text;
    uint32_t limit = first_unstable(form), c;
    bool ok = true;
    while (ok && p < end) {
        const char *at = p;
        p += moe_char_decode(&c, p);
        if (c < limit) continue;
        /* from the character before, which a mark may join, to the next stable one */
        const char *from = at > done ? moe_char_before(done, at) : at;
        while (p < end) {
            size_t length = moe_char_decode(&c, p);
            if (c < limit) break;
            p += length;
        }
        ok = moe_bytes_append(out, done, (size_t)(from - done)) &&
             transform(out, &d, from, (size_t)(p - from), form);
        done = p;
    }
    ok = ok && moe_bytes_append(out, done, (size_t)(end - done));
    free(d.data);
    free(d.class);
    return ok ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}
