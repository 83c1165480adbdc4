#ifndef MOE_ENGINE_NORM_H
#define MOE_ENGINE_NORM_H
/* The norm of the residual stream, of the family's kind. */

#include "kernels/kernels.h"
#include "models/spec.h"
#include "models/weights.h"

/* y = norm(x).   y, x [hidden_size], y may be x */
void moe_norm_apply(float *y, const float *x, const struct moe_norm *norm, const struct moe_spec *spec,
                    const struct moe_kernels *kernels);

#endif
