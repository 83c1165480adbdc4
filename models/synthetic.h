#ifndef MOE_MODELS_SYNTHETIC_H
#define MOE_MODELS_SYNTHETIC_H
/* Random weights of any shape, so that a benchmark needs no download. */

#include "models/source.h"

struct moe_synthetic; /* opaque; owns the weights that it made up */

/* Matrices are BF16, normal with standard deviation 0.02; gains and biases F32, 1 + noise for names that say
 * norm. */
moe_status moe_synthetic_open(struct moe_synthetic **out, uint64_t seed, moe_error *err);
/* Fills the matrices that were handed over: only once all are there is it known that they fit. */
void moe_synthetic_draw(struct moe_synthetic *synthetic);
void moe_synthetic_close(struct moe_synthetic *synthetic);
struct moe_source moe_source_synthetic(struct moe_synthetic *synthetic);

#endif
