#ifndef MOE_TEXT_TRIE_H
#define MOE_TEXT_TRIE_H
/* A set of strings, and the longest of them at a place of a text. Zeroed, it is empty. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct moe_trie {
    uint32_t *values; /* [n] of a node: value + 1, or 0; node 0 is the root */
    size_t n, capacity;
    uint64_t *edges; /* [n_slots] (node << 8 | byte) << 32 | child; 0: none, for no child is the root */
    size_t n_edges, n_slots;
    bool first[256]; /* bytes that a string begins with */
};

/* Adds key [n], n > 0. *is_new is false if it was there, and nothing changes. False: no memory, or more than
 * 2^24 nodes. */
bool moe_trie_add(struct moe_trie *trie, bool *is_new, const char *key, size_t n, uint32_t value);
/* Length of the longest string that text [n] begins with, or 0. */
size_t moe_trie_longest(uint32_t *value, const struct moe_trie *trie, const char *text, size_t n);
void moe_trie_free(struct moe_trie *trie);

#endif
