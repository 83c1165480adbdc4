#ifndef MOE_ENGINE_MODEL_H
#define MOE_ENGINE_MODEL_H
/* What an open model is: maps, spec, weights that borrow the maps, and the kernels chosen for this CPU. */

#include "engine/moe.h"
#include "kernels/kernels.h"
#include "kernels/openblas.h"
#include "engine/repack.h"
#include "loader/checkpoint.h"
#include "models/spec.h"
#include "models/synthetic.h"
#include "models/weights.h"

enum { MOE_MAX_EOS = 16 };

struct moe_model {
    struct moe_checkpoint *checkpoint; /* NULL: synthetic */
    struct moe_synthetic *synthetic;   /* NULL: a checkpoint */
    struct moe_spec spec;
    struct moe_weights weights;
    struct moe_repacked repacked; /* what weights borrow besides */
    struct moe_kernels kernels;
    bool uses_openblas;
    struct moe_openblas openblas;
    int64_t eos[MOE_MAX_EOS];
    moe_model_info info;
};

#endif
