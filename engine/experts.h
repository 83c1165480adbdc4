#ifndef MOE_ENGINE_EXPERTS_H
#define MOE_ENGINE_EXPERTS_H
/* The FFNs of a layer: routed experts with an optional shared one, and a dense FFN. */

#include "engine/dispatch.h"
#include "engine/gemm.h"
#include "engine/router.h"
#include "models/weights.h"

/* Values between the products of a gated FFN, for n rows of one width. */
struct moe_ffn_rows {
    float *gate, *up;              /* [n, width] */
    struct moe_activations hidden; /* [n, width]: the activation of both */
};

struct moe_experts {
    struct moe_router router;
    struct moe_dispatch dispatch;
    struct moe_ffn_rows routed; /* one row per (row, expert) pair */
    struct moe_ffn_rows shared, dense;
    float *routed_out;            /* [pairs, hidden] */
    float *shared_out;            /* [max_rows, hidden] */
    float *shared_score;          /* [max_rows] */
    struct moe_problem *problems; /* [2 * n_experts + 2], made by worker 0 for the phase that follows */
    size_t n_problems;
};

struct moe_session;

void moe_experts_take(struct moe_experts *out, struct moe_arena *arena, const struct moe_spec *spec,
                      const bool layouts[MOE_LAYOUT_COUNT], size_t max_rows, size_t n_workers);
/* delta = the routed FFN of layer `layer` on `normed`, or its dense one. All workers call them, a barrier
 * before and after. */
void moe_experts_run(struct moe_worker *worker, struct moe_session *s, size_t layer);
void moe_dense_run(struct moe_worker *worker, struct moe_session *s, size_t layer);

#endif
