#ifndef MOE_TEXT_BPE_MODEL_H
#define MOE_TEXT_BPE_MODEL_H
/* The tables behind struct moe_bpe: filled in bpe_model.c, read in bpe.c. */

#include "text/bpe.h"

#define MOE_NO_MERGE UINT64_MAX /* ids are below 2^24: no pair has this key */

struct moe_merge {
    uint64_t key;
    uint32_t rank, id;
};

struct moe_character {
    uint32_t code_point, id; /* id + 1; 0: the slot is empty */
};

static inline uint64_t moe_merge_key(uint32_t left, uint32_t right) {
    return (uint64_t)left << 32 | right;
}

/* The pair's slot, or the empty one where it belongs. */
static inline struct moe_merge *moe_merge_slot(const struct moe_bpe *bpe, uint32_t left, uint32_t right) {
    uint64_t key = moe_merge_key(left, right), hash = key * UINT64_C(0x9E3779B97F4A7C15);
    size_t slot = (size_t)(hash >> 32 ^ hash) & (bpe->n_slots - 1);
    while (bpe->merges[slot].key != key && bpe->merges[slot].key != MOE_NO_MERGE)
        slot = (slot + 1) & (bpe->n_slots - 1);
    return &bpe->merges[slot];
}

static inline struct moe_character *moe_character_slot(const struct moe_bpe *bpe, uint32_t c) {
    size_t slot = (c * UINT32_C(0x9E3779B1) >> 8) & (bpe->n_character_slots - 1);
    while (bpe->characters[slot].id && bpe->characters[slot].code_point != c)
        slot = (slot + 1) & (bpe->n_character_slots - 1);
    return &bpe->characters[slot];
}

/* A bit for two neighbouring characters; unrelated pairs may share one. */
static inline uint32_t moe_join_bit(uint32_t left, uint32_t right) {
    return (left * UINT32_C(0x9E3779B1) ^ right * UINT32_C(0x85EBCA77)) >> 16;
}

#endif
