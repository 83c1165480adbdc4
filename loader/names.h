#ifndef MOE_LOADER_NAMES_H
#define MOE_LOADER_NAMES_H
/* Name -> value, built once: xxHash picks a bucket, and a bucket is sorted by name. The hash has no secret,
 * so a hostile file may put every name into one bucket: building is then O(n log n) and a lookup O(log n),
 * never O(n). */

#include <stddef.h>

#include "base/status.h"

struct moe_name {
    const char *name; /* borrowed */
    const void *value;
};

struct moe_names {
    size_t n;
    unsigned shift;           /* bucket of a name: its hash >> shift */
    size_t *first;            /* [buckets + 1] into `entries` */
    struct moe_name *entries; /* [n], by bucket, then by name */
};

/* Indexes `names` [n], which is not kept (what it points to is). *twice is NULL, or the first of two adjacent
 * entries with the same name. MOE_E_MEMORY: nothing to free. */
moe_status moe_names_build(struct moe_names *out, const struct moe_name **twice, const struct moe_name *names,
                           size_t n, moe_error *err);
/* NULL if there is none. */
const void *moe_names_find(const struct moe_names *names, const char *name);
void moe_names_free(struct moe_names *names);

#endif
