#ifndef MOE_TEXT_STRMAP_H
#define MOE_TEXT_STRMAP_H
/* Strings to numbers: an open-addressing hash table (XXH3) over one block of text. Zeroed, it is empty. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/buffer.h"

struct moe_strmap_entry {
    uint32_t offset, length; /* in text */
    uint32_t hash, value;
};

struct moe_strmap {
    struct moe_bytes text;
    struct moe_strmap_entry *entries;
    size_t n, capacity;
    uint32_t *slots; /* [n_slots] entry + 1, or 0 */
    size_t n_slots;  /* a power of two, or 0 */
};

/* Adds key [n] if it is new, and gives its entry's number. Values of new entries are 0. False: no memory.
 * All keys together have less than 4 GiB: the file that they come from has. */
bool moe_strmap_add(size_t *entry, bool *is_new, struct moe_strmap *map, const char *key, size_t n);
/* NULL if there is none. */
const struct moe_strmap_entry *moe_strmap_find(const struct moe_strmap *map, const char *key, size_t n);
/* The entry's text; not terminated, and borrowed until the next add. */
static inline const char *moe_strmap_text(const struct moe_strmap *map, const struct moe_strmap_entry *e) {
    return map->text.data + e->offset;
}
void moe_strmap_free(struct moe_strmap *map);

#endif
