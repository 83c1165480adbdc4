#include "text/strmap.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The slot of the key, or the empty one where it belongs. */
static size_t slot_of(const struct moe_strmap *map, const char *key, size_t n, uint32_t hash) {
    size_t slot = hash & (map->n_slots - 1);
    while (map->slots[slot]) {
        const struct moe_strmap_entry *e = &map->entries[map->slots[slot] - 1];
        if (e->hash == hash && e->length == n && memcmp(map->text.data + e->offset, key, n) == 0) break;
        slot = (slot + 1) & (map->n_slots - 1);
    }
    return slot;
}

static bool grow_slots(struct moe_strmap *map) {
    size_t n_slots = map->n_slots ? 2 * map->n_slots : 64;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < map->n; i++) {
        size_t slot = map->entries[i].hash & (n_slots - 1);
        while (slots[slot]) slot = (slot + 1) & (n_slots - 1);
        slots[slot] = (uint32_t)i + 1;
    }
    free(map->slots);
    map->slots = slots;
    map->n_slots = n_slots;
    return true;
}

static uint32_t hash_of(const char *key, size_t n) {
    return (uint32_t)XXH3_64bits(key, n);
}

bool moe_strmap_add(size_t *entry, bool *is_new, struct moe_strmap *map, const char *key, size_t n) {
    uint32_t hash = hash_of(key, n);
    if (2 * (map->n + 1) > map->n_slots && !grow_slots(map)) return false;
    size_t slot = slot_of(map, key, n, hash);
    *is_new = !map->slots[slot];
    if (*is_new) {
        void *entries = map->entries;
        if (!moe_array_grow(&entries, &map->capacity, map->n, 1, sizeof *map->entries)) return false;
        map->entries = entries;
        uint32_t offset = (uint32_t)map->text.n;
        if (!moe_bytes_append(&map->text, key, n) || !moe_bytes_grow(&map->text, 1)) return false;
        map->entries[map->n++] =
            (struct moe_strmap_entry){.offset = offset, .length = (uint32_t)n, .hash = hash};
        map->slots[slot] = (uint32_t)map->n;
    }
    *entry = map->slots[slot] - 1;
    return true;
}

const struct moe_strmap_entry *moe_strmap_find(const struct moe_strmap *map, const char *key, size_t n) {
    if (map->n == 0) return NULL;
    size_t slot = slot_of(map, key, n, hash_of(key, n));
    return map->slots[slot] ? &map->entries[map->slots[slot] - 1] : NULL;
}

void moe_strmap_free(struct moe_strmap *map) {
    moe_bytes_free(&map->text);
    free(map->entries);
    free(map->slots);
    *map = (struct moe_strmap){0};
}
