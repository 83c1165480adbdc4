#ifndef MOE_ENGINE_KVCACHE_H
#define MOE_ENGINE_KVCACHE_H
/* What attention remembers of every layer, sequence and kv head, in blocks of MOE_KEY_BLOCK positions.
 * Grouped attention keeps keys and values, keys transposed inside a block, so that scores of a block's keys
 * are computed side by side, each by one chain of multiply-adds. Latent attention keeps one row per position,
 * its key, whose first part is its value as well: no keys then, and values are these rows. A layer with a
 * window keeps a ring of blocks, just enough for the window and one pass. */

#include "base/arena.h"
#include "kernels/kernels.h"
#include "models/spec.h"

struct moe_cache_layer {
    size_t n_kv_heads;
    size_t n_blocks; /* per sequence and head; position p lies in block (p / MOE_KEY_BLOCK) % n_blocks */
    float *keys;     /* [sequences, kv_heads, n_blocks, key_dim, MOE_KEY_BLOCK], unless key_dim is 0 */
    float *values;   /* [sequences, kv_heads, n_blocks * MOE_KEY_BLOCK, value_dim] */
};

struct moe_cache {
    size_t n_layers, n_sequences;
    size_t key_dim, value_dim; /* of one position and kv head; key_dim 0: latent attention */
    struct moe_cache_layer *layers;
    size_t *length;  /* [n_sequences]: positions held */
    size_t *written; /* [n_sequences]: highest position written since position 0 was, + 1: what the rings
                        remember */
};

void moe_cache_take(struct moe_cache *out, struct moe_arena *arena, const struct moe_spec *spec,
                    size_t n_sequences, size_t context, size_t max_rows);

/* The block that holds position p. */
float *moe_cache_keys(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p);
float *moe_cache_values(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p);

/* Stores key [key_dim] and value [value_dim] at position p; without keys only the value. */
void moe_cache_store(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p,
                     const float *key, const float *value);

/* Whether a sequence can go on from position p: every ring still holds what its window sees from there. */
bool moe_cache_can_resume(const struct moe_cache *c, const struct moe_spec *spec, size_t sequence, size_t p);

#endif
