#ifndef MOE_ENGINE_ROUTER_H
#define MOE_ENGINE_ROUTER_H
/* Router logits to the top-k experts of each row and their weights. */

#include "base/arena.h"
#include "kernels/kernels.h"
#include "models/spec.h"
#include "models/weights.h"

struct moe_router {
    float *logits;          /* [max_rows, n_choices] */
    uint32_t *ids;          /* [max_rows, the layer's top_k], in order of choice */
    float *weights;         /* the same */
    float *scores, *choice; /* [n_workers, n_choices] scratch: what weights come from; what is compared */
    float *groups;          /* [n_workers, n_groups] scratch */
};

void moe_router_take(struct moe_router *out, struct moe_arena *arena, const struct moe_spec *spec,
                     size_t max_rows, size_t n_workers);
/* Chooses the experts of one row, whose logits (without the router's bias) are there. */
void moe_router_choose(const struct moe_router *router, const struct moe_spec *spec, size_t layer,
                       const struct moe_layer_weights *weights, const struct moe_kernels *kernels, size_t row,
                       size_t worker);

#endif
