#include "engine/kvcache.h"

#include <string.h>

static size_t blocks_for(size_t positions) {
    return (positions + MOE_KEY_BLOCK - 1) / MOE_KEY_BLOCK;
}

void moe_cache_take(struct moe_cache *out, struct moe_arena *arena, const struct moe_spec *spec,
                    size_t n_sequences, size_t context, size_t max_rows) {
    *out = (struct moe_cache){.n_layers = spec->n_layers,
                              .n_sequences = n_sequences,
                              .key_dim = spec->head_dim,
                              .value_dim = spec->value_dim};
    if (spec->latent.kv_rank) {
        out->key_dim = 0;
        out->value_dim = spec->latent.kv_rank + spec->latent.rope_dim;
    }
    out->length = moe_arena_take(arena, n_sequences, sizeof *out->length);
    out->written = moe_arena_take(arena, n_sequences, sizeof *out->written);
    out->layers = moe_arena_take(arena, spec->n_layers, sizeof *out->layers);
    for (size_t l = 0; l < spec->n_layers; l++) {
        struct moe_cache_layer layer = {.n_kv_heads = spec->layers[l].n_kv_heads,
                                        .n_blocks = blocks_for(context)};
        size_t window = moe_layer_reach(&spec->layers[l]);
        /* the first row of a pass still sees window - 1 positions before it when its last row is stored; one
         * block more, because neither end need lie on a block's edge */
        if (window && blocks_for(window + max_rows) + 1 < layer.n_blocks)
            layer.n_blocks = blocks_for(window + max_rows) + 1;
        size_t n = n_sequences * layer.n_kv_heads * MOE_KEY_BLOCK;
        if (out->key_dim)
            layer.keys = moe_arena_take(arena, n * layer.n_blocks, out->key_dim * sizeof(float));
        layer.values = moe_arena_take(arena, n * layer.n_blocks, out->value_dim * sizeof(float));
        if (out->layers) out->layers[l] = layer;
    }
}

/* Index of the block of position p among all blocks of the layer. */
static size_t block_index(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p) {
    size_t n_blocks = c->layers[layer].n_blocks;
    return (sequence * c->layers[layer].n_kv_heads + head) * n_blocks + p / MOE_KEY_BLOCK % n_blocks;
}

float *moe_cache_keys(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p) {
    return c->layers[layer].keys + block_index(c, layer, sequence, head, p) * MOE_KEY_BLOCK * c->key_dim;
}

float *moe_cache_values(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p) {
    return c->layers[layer].values + block_index(c, layer, sequence, head, p) * MOE_KEY_BLOCK * c->value_dim;
}

void moe_cache_store(const struct moe_cache *c, size_t layer, size_t sequence, size_t head, size_t p,
                     const float *key, const float *value) {
    size_t at = p % MOE_KEY_BLOCK;
    for (size_t d = 0; d < c->key_dim; d++)
        moe_cache_keys(c, layer, sequence, head, p)[d * MOE_KEY_BLOCK + at] = key[d];
    float *values = moe_cache_values(c, layer, sequence, head, p) + at * c->value_dim;
    memcpy(values, value, c->value_dim * sizeof *value);
}

bool moe_cache_can_resume(const struct moe_cache *c, const struct moe_spec *spec, size_t sequence, size_t p) {
    if (p == 0 || p == c->written[sequence]) return true;
    size_t last_block = (c->written[sequence] - 1) / MOE_KEY_BLOCK;
    for (size_t l = 0; l < c->n_layers; l++) {
        if (!moe_layer_reach(&spec->layers[l])) continue;
        size_t oldest = moe_layer_first_seen(&spec->layers[l], p);
        if (last_block >= oldest / MOE_KEY_BLOCK + c->layers[l].n_blocks) return false;
    }
    return true;
}
