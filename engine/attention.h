#ifndef MOE_ENGINE_ATTENTION_H
#define MOE_ENGINE_ATTENTION_H
/* Grouped-query attention (Ainslie et al. 2023) with RoPE, over blocks of cached keys. */

#include "engine/gemm.h"
#include "models/spec.h"

/* What one worker needs to attend: a tile of queries that share a kv head. */
struct moe_attention_tile {
    float *q, *out;        /* [tile_queries, head_dim] */
    float *max, *sum;      /* [tile_queries] */
    float *scores;         /* [tile_queries, MOE_KEY_BLOCK] */
    uint8_t *first, *last; /* [tile_queries] */
};

struct moe_attention {
    size_t tile_rows;                 /* rows of a run that are attended together */
    float *q, *k, *v;                 /* [max_rows, heads * head_dim] */
    float *cosine, *sine;             /* [max_rows, rope pairs] */
    float *inv_freq;                  /* [n_workers, rope pairs] */
    struct moe_activations out;       /* [max_rows, n_heads * head_dim] */
    struct moe_attention_tile *tiles; /* [n_workers] */
};

struct moe_session;

void moe_attention_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                        const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows, size_t n_workers);
/* Angles of one row of the batch, once per pass. */
void moe_attention_find_angles(struct moe_worker *worker, struct moe_session *s, size_t row);
/* delta = attention of layer `layer` on `normed`, without the output's bias; stores the rows' keys and
 * values. All workers call it, a barrier before and after. */
void moe_attention_run(struct moe_worker *worker, struct moe_session *s, size_t layer);

#endif
