#include "loader/names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static size_t bucket_of(const struct moe_names *names, const char *name) {
    return (size_t)(XXH3_64bits(name, strlen(name)) >> names->shift);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct moe_name *)a)->name, ((const struct moe_name *)b)->name);
}

/* Counting sort by bucket. Afterwards first[b] is where bucket b begins. */
static void fill_buckets(struct moe_names *out, const struct moe_name *names, size_t n_buckets) {
    for (size_t i = 0; i < out->n; i++) out->first[bucket_of(out, names[i].name)]++;
    size_t end = 0;
    for (size_t b = 0; b <= n_buckets; b++) {
        end += out->first[b];
        out->first[b] = end;
    }
    for (size_t i = out->n; i-- > 0;) out->entries[--out->first[bucket_of(out, names[i].name)]] = names[i];
}

moe_status moe_names_build(struct moe_names *out, const struct moe_name **twice, const struct moe_name *names,
                           size_t n, moe_error *err) {
    unsigned bits = 1;
    while (((size_t)1 << bits) < n) bits++;
    size_t n_buckets = (size_t)1 << bits;
    *twice = NULL;
    *out = (struct moe_names){.n = n, .shift = 64 - bits};
    out->first = calloc(n_buckets + 1, sizeof *out->first);
    out->entries = calloc(n + 1, sizeof *out->entries);
    if (!out->first || !out->entries) {
        moe_names_free(out);
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory for an index of %zu names", n);
    }
    fill_buckets(out, names, n_buckets);
    for (size_t b = 0; b < n_buckets; b++) {
        size_t begin = out->first[b], end = out->first[b + 1];
        if (end - begin < 2) continue;
        qsort(out->entries + begin, end - begin, sizeof *out->entries, compare_names);
        for (size_t i = begin + 1; i < end && !*twice; i++)
            if (strcmp(out->entries[i - 1].name, out->entries[i].name) == 0) *twice = &out->entries[i - 1];
    }
    return MOE_OK;
}

const void *moe_names_find(const struct moe_names *names, const char *name) {
    size_t bucket = bucket_of(names, name);
    size_t low = names->first[bucket], high = names->first[bucket + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, names->entries[middle].name);
        if (order == 0) return names->entries[middle].value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void moe_names_free(struct moe_names *names) {
    free(names->first);
    free(names->entries);
    *names = (struct moe_names){0};
}
