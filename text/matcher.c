#include "text/matcher.h"

#include <stdlib.h>
#include <string.h>

moe_status moe_pattern_open(struct moe_pattern *out, struct moe_json_value v, moe_error *err) {
    return moe_component_pattern(&out->literal, &out->regex, v, err);
}

void moe_pattern_close(struct moe_pattern *pattern) {
    free(pattern->literal);
    moe_regex_close(pattern->regex);
    *pattern = (struct moe_pattern){0};
}

moe_status moe_matcher_begin(struct moe_matcher *m, const struct moe_pattern *pattern, const char *text,
                             size_t n, moe_error *err) {
    m->pattern = pattern;
    m->text = text;
    m->n = n;
    m->next = 0;
    return pattern->literal ? MOE_OK : moe_regex_scan_begin(&m->scan, pattern->regex, text, n, err);
}

moe_status moe_matcher_next(struct moe_matcher *m, bool *found, size_t *start, size_t *end, moe_error *err) {
    if (!m->pattern->literal) return moe_regex_scan_next(&m->scan, found, start, end, err);
    size_t length = strlen(m->pattern->literal);
    const char *hit = memmem(m->text + m->next, m->n - m->next, m->pattern->literal, length);
    *found = hit != NULL;
    if (!hit) return MOE_OK;
    *start = (size_t)(hit - m->text);
    *end = m->next = *start + length;
    return MOE_OK;
}

void moe_matcher_free(struct moe_matcher *m) {
    moe_regex_scan_free(&m->scan);
}
