#ifndef MOE_ENGINE_SESSION_H
#define MOE_ENGINE_SESSION_H
/* Everything that evaluation writes to, in one arena, taken when the session opens. */

#include "engine/attention.h"
#include "engine/batch.h"
#include "engine/experts.h"
#include "engine/gemm.h"
#include "engine/kvcache.h"
#include "engine/model.h"
#include "engine/threads.h"

struct moe_session {
    struct moe_team team; /* first: it wants a cache line's alignment */
    const struct moe_model *model;
    moe_session_options options; /* defaults filled in */
    bool fits_threads;           /* n_threads was left to us: a small pass takes fewer */
    struct moe_arena arena;
    size_t cache_bytes; /* of the arena */
    struct moe_gemm_backend gemm;
    struct moe_cache cache;
    struct moe_batch batch;
    moe_counters counters;
    /* the pass */
    float *x;                      /* [max_rows, hidden]: the residual stream */
    struct moe_activations normed; /* [max_rows, hidden]: x after a norm, what attention and FFN read */
    float *delta;                  /* [max_rows, hidden]: what a step adds to x */
    float *kept;                   /* [max_rows, hidden]: what a later step adds; NULL: none does */
    struct moe_attention attention;
    struct moe_experts experts;
    float *logits;         /* [max_logits, vocab] */
    size_t n_logits;       /* rows of it that the eval has filled so far */
    size_t *next_position; /* [n_sequences]: the length each sequence has when the eval ends */
    size_t *expected;      /* [n_sequences]: moe_session_expect; 0: nothing */
    /* only where RoPE recomputes: what each sequence was fed, and whether it was computed as a long one */
    uint32_t *tokens; /* [n_sequences, context] */
    bool *was_long;   /* [n_sequences] */
    moe_row *again;   /* [max_rows] */
    bool recomputing; /* a pass that shows nothing to the tap */
    float *tapped;    /* [max_rows, widest tap], only with a tap */
};

/* moe_session_measure in two parts: keys and values, and all else. */
moe_status moe_session_measure_parts(size_t *cache_bytes, size_t *other_bytes, const moe_model *model,
                                     const moe_session_options *opt, moe_error *err);

/* The length that a sequence of the batch has at the end of the eval, or that it is expected to reach. */
size_t moe_session_final_length(const struct moe_session *s, size_t sequence);

/* Show rows of the pass to the session's tap, if it has one: all workers call them, after a barrier; worker 0
 * shows. values [n_rows, n] at stride ld; ids [n_rows, n]. */
void moe_session_tap(struct moe_worker *worker, struct moe_session *s, moe_tap_kind kind, size_t layer,
                     const float *values, size_t ld, size_t n);
void moe_session_tap_ids(struct moe_worker *worker, struct moe_session *s, moe_tap_kind kind, size_t layer,
                         const uint32_t *ids, size_t n);

#endif
