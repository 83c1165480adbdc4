#ifndef MOE_ENGINE_ATTENTION_H
#define MOE_ENGINE_ATTENTION_H
/* Attention with RoPE over blocks of cached positions. What differs between the kinds is how queries come to
 * be and what is cached (grouped.c, latent.c); the softmax over blocks is one. */

#include "engine/gemm.h"
#include "models/spec.h"
#include "models/weights.h"

/* What one worker needs to attend: a tile of queries that share a kv head. */
struct moe_attention_tile {
    float *q;              /* [tile_queries, ld_q] */
    float *out;            /* [tile_queries, value_dim] */
    float *max, *sum;      /* [tile_queries] */
    float *scores;         /* [tile_queries, MOE_KEY_BLOCK] */
    uint8_t *first, *last; /* [tile_queries] */
};

/* What latent attention needs besides. */
struct moe_latent {
    struct moe_activations q_a;   /* [max_rows, q_rank] */
    float *q;                     /* [max_rows, n_heads * (nope_dim + rope_dim)], as projected */
    struct moe_activations nope;  /* [max_rows * n_heads, nope_dim]: the unrotated part of q */
    float *kv;                    /* [max_rows, kv_rank + rope_dim] */
    struct moe_activations mixed; /* [max_rows * n_heads, kv_rank]: attended latent vectors */
    struct moe_problem *problems; /* [n_heads], made by worker 0 for the phase that follows */
};

struct moe_attention {
    /* of the softmax over blocks: query heads, and of the keys and values they meet */
    size_t key_dim, value_dim, ld_q;
    float *q;     /* [max_rows, the layer's n_heads, key_dim]; latent: in the space of what is cached */
    float *k, *v; /* [max_rows, the layer's n_kv_heads, head_dim or value_dim]; grouped attention only */
    float *gate;  /* [max_rows, the layer's n_heads * gate_dim]; grouped attention with a gate only */
    size_t max_rows, ld_angles; /* ld_angles: the most pairs that any RoPE rotates */
    float *cosine, *sine;       /* [n_ropes, max_rows, ld_angles] */
    float *inv_freq;            /* [n_workers, ld_angles] */
    struct moe_activations out; /* [max_rows, n_heads * value_dim of the model]: what o reads */
    struct moe_latent latent;
    struct moe_attention_tile *tiles; /* [n_workers] */
};

struct moe_session;

void moe_attention_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                        const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows, size_t n_workers);
/* Angles of one row of the batch, of every RoPE, once per pass. */
void moe_attention_find_angles(struct moe_worker *worker, struct moe_session *s, size_t row);
/* delta = attention of layer `layer` on `normed`, without the output's bias; stores what the rows leave in
 * the cache. All workers call it, a barrier before and after. */
void moe_attention_run(struct moe_worker *worker, struct moe_session *s, size_t layer);

/* Queries attended together: heads of a kv head, rows of a run. */
struct moe_tile_shape {
    size_t heads, rows;
};

/* The two kinds. _project: `normed` to q, and what the rows leave in the cache. _expand: what the softmax
 * over blocks gave each head to `out`, packed. All workers call them, a barrier before and after. */
void moe_grouped_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                      size_t max_rows);
void moe_grouped_project(struct moe_worker *worker, struct moe_session *s, size_t layer);
void moe_grouped_expand(struct moe_worker *worker, struct moe_session *s, size_t layer);
void moe_latent_take(struct moe_attention *out, struct moe_arena *arena, const struct moe_spec *spec,
                     const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows);
void moe_latent_project(struct moe_worker *worker, struct moe_session *s, size_t layer);
void moe_latent_expand(struct moe_worker *worker, struct moe_session *s, size_t layer);

/* Rotates x, the part of a head that a layer's RoPE rotates, by the angles of a row; nothing without RoPE. */
void moe_attention_rotate(const struct moe_session *s, size_t layer, float *x, size_t row);
/* What queries of a row are multiplied with for its position. */
float moe_attention_growth(const struct moe_session *s, size_t layer, size_t row);

#endif
