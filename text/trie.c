#include "text/trie.h"

#include <stdlib.h>

#include "text/buffer.h"

enum { MAX_NODES = 1 << 24 };

/* The edge's slot, or the empty one where it belongs. */
static size_t slot_of(const struct moe_trie *trie, uint64_t edge) {
    size_t slot = (size_t)(edge * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (trie->n_slots - 1);
    while (trie->edges[slot] && trie->edges[slot] >> 32 != edge) slot = (slot + 1) & (trie->n_slots - 1);
    return slot;
}

static uint32_t child_of(const struct moe_trie *trie, uint32_t node, char byte) {
    if (!trie->n_slots) return 0;
    return (uint32_t)trie->edges[slot_of(trie, (uint64_t)node << 8 | (unsigned char)byte)];
}

static bool grow_edges(struct moe_trie *trie) {
    struct moe_trie grown = *trie;
    grown.n_slots = trie->n_slots ? 2 * trie->n_slots : 64;
    grown.edges = calloc(grown.n_slots, sizeof *grown.edges);
    if (!grown.edges) return false;
    for (size_t i = 0; i < trie->n_slots; i++)
        if (trie->edges[i]) grown.edges[slot_of(&grown, trie->edges[i] >> 32)] = trie->edges[i];
    free(trie->edges);
    *trie = grown;
    return true;
}

static bool add_node(struct moe_trie *trie, uint32_t *node) {
    void *values = trie->values;
    if (trie->n == MAX_NODES || !moe_array_grow(&values, &trie->capacity, trie->n, 1, sizeof *trie->values))
        return false;
    trie->values = values;
    *node = (uint32_t)trie->n++;
    trie->values[*node] = 0;
    return true;
}

bool moe_trie_add(struct moe_trie *trie, bool *is_new, const char *key, size_t n, uint32_t value) {
    uint32_t node = 0;
    if (trie->n == 0 && !add_node(trie, &node)) return false;
    for (size_t i = 0; i < n; i++) {
        uint32_t child = child_of(trie, node, key[i]);
        if (!child) {
            if (2 * (trie->n_edges + 1) > trie->n_slots && !grow_edges(trie)) return false;
            if (!add_node(trie, &child)) return false;
            uint64_t edge = (uint64_t)node << 8 | (unsigned char)key[i];
            trie->edges[slot_of(trie, edge)] = edge << 32 | child;
            trie->n_edges++;
        }
        node = child;
    }
    trie->first[(unsigned char)key[0]] = true;
    *is_new = trie->values[node] == 0;
    if (*is_new) trie->values[node] = value + 1;
    return true;
}

size_t moe_trie_longest(uint32_t *value, const struct moe_trie *trie, const char *text, size_t n) {
    size_t longest = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < n && (node = child_of(trie, node, text[i])) != 0; i++) {
        if (!trie->values[node]) continue;
        longest = i + 1;
        *value = trie->values[node] - 1;
    }
    return longest;
}

void moe_trie_free(struct moe_trie *trie) {
    free(trie->values);
    free(trie->edges);
    *trie = (struct moe_trie){0};
}
