#include "cli/stops.h"

#include <stdlib.h>
#include <string.h>

static bool ends_with(const struct text *t, const char *s, size_t n) {
    return n <= t->n && !memcmp(t->data + t->n - n, s, n);
}

static void release(struct stops *s, struct text *out, size_t n) {
    text_append(out, s->held.data, n);
    s->held.n -= n;
    memmove(s->held.data, s->held.data + n, s->held.n + 1);
}

bool stops_feed(struct stops *s, struct text *out, const char *piece, size_t n) {
    if (s->n == 0) {
        text_append(out, piece, n);
        return false;
    }
    for (size_t i = 0; i < n; i++) { /* byte by byte, so that the cut into pieces does not matter */
        text_append(&s->held, piece + i, 1);
        size_t longest = 0;
        for (size_t k = 0; k < s->n; k++) {
            size_t length = strlen(s->texts[k]);
            if (length > longest && ends_with(&s->held, s->texts[k], length)) longest = length;
        }
        if (longest == 0) continue;
        text_append(out, s->held.data, s->held.n - longest);
        s->held.n = 0;
        return true;
    }
    size_t keep = 0;
    for (size_t k = 0; k < s->n; k++)
        for (size_t length = strlen(s->texts[k]) - 1; length > keep; length--)
            if (ends_with(&s->held, s->texts[k], length)) keep = length;
    if (s->held.n > keep) release(s, out, s->held.n - keep);
    return false;
}

void stops_finish(struct stops *s, struct text *out) {
    if (s->held.n > 0) release(s, out, s->held.n);
}

void stops_free(struct stops *s) {
    free(s->held.data);
    *s = (struct stops){0};
}
