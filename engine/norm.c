#include "engine/norm.h"

void moe_norm_apply(float *y, const float *x, const struct moe_norm *norm, const struct moe_spec *spec,
                    const struct moe_kernels *kernels) {
    switch (spec->norm) {
    case MOE_NORM_RMS:
        kernels->rmsnorm(y, x, norm->gain, spec->hidden_size, spec->norm_eps);
        break;
    case MOE_NORM_BY_KEY: /* is one of the others in a spec */
    case MOE_NORM_LAYER:
    case MOE_NORM_LAYER_NO_BIAS:
        kernels->layernorm(y, x, norm->gain, norm->bias, spec->hidden_size, spec->norm_eps);
        break;
    }
}
