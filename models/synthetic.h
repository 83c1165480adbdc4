#ifndef MOE_MODELS_SYNTHETIC_H
#define MOE_MODELS_SYNTHETIC_H
/* Random weights of any shape, so that a benchmark needs no download. */

#include "models/quantization.h"
#include "models/source.h"

struct moe_synthetic; /* opaque; owns the weights that it made up */

/* Matrices as `format` stores them (models/synthetic_format.h; NULL: "bf16"), normal with standard deviation
 * 0.02 or near it; gains and biases F32, 1 + noise for names that say norm. MOE_E_ARGUMENT: there is no such
 * format. */
moe_status moe_synthetic_open(struct moe_synthetic **out, const char *format, uint64_t seed, moe_error *err);
/* What a config.json of the format would say of quantised weights, in place of what *q says. */
moe_status moe_synthetic_describe(const struct moe_synthetic *synthetic, struct moe_quantization *q,
                                  moe_error *err);
/* Fills the matrices that were handed over: only once all are there is it known that they fit. */
void moe_synthetic_draw(struct moe_synthetic *synthetic);
void moe_synthetic_close(struct moe_synthetic *synthetic);
struct moe_source moe_source_synthetic(struct moe_synthetic *synthetic);

#endif
