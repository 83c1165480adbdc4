#include "engine/router.h"

void moe_router_take(struct moe_router *out, struct moe_arena *arena, const struct moe_spec *spec,
                     size_t max_rows, size_t n_workers) {
    out->logits = moe_arena_take(arena, max_rows, spec->n_experts * sizeof(float));
    out->ids = moe_arena_take(arena, max_rows, spec->top_k * sizeof(uint32_t));
    out->weights = moe_arena_take(arena, max_rows, spec->top_k * sizeof(float));
    out->scratch = moe_arena_take(arena, n_workers, spec->n_experts * sizeof(float));
}

void moe_router_choose(const struct moe_router *router, const struct moe_spec *spec,
                       const struct moe_kernels *kernels, size_t row, size_t worker) {
    kernels->router_softmax_topk(router->ids + row * spec->top_k, router->weights + row * spec->top_k,
                                 router->logits + row * spec->n_experts,
                                 router->scratch + worker * spec->n_experts, spec->n_experts, spec->top_k,
                                 spec->renorm);
}
