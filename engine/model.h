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

enum { MOE_MAX_EOS = 16, MOE_MAX_CONFIG_BYTES = 16 << 20 };

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

/* The steps of opening one that checking a checkpoint takes as well (engine/check.c). */

/* What comes before the weights: kernels, config.json of the directory `dir` of the checkpoint `path`, or
 * `path` itself if is_config, and generation_config.json. */
moe_status moe_model_read(struct moe_model *m, const char *path, const char *dir, bool is_config,
                          const moe_model_options *opt, moe_error *err);
/* What spec and weights tell, but for the storage; that, where all weights are there. */
void moe_model_fill_info(struct moe_model *m);
const char *moe_model_storage(const struct moe_model *m);
moe_status moe_model_choose_precision(struct moe_model *m, const moe_model_options *opt, moe_error *err);

#endif
