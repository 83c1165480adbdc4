#ifndef MOE_MODELS_SOURCE_H
#define MOE_MODELS_SOURCE_H
/* Where weights come from: a checkpoint, random numbers, or a list that only records what is asked for. */

#include "base/matrix.h"
#include "base/status.h"
#include "loader/checkpoint.h"

/* A tensor as a source hands it over: its storage format and bytes, borrowed for the life of the source. */
struct moe_source_tensor {
    enum moe_format format;
    const void *data;
};

struct moe_source {
    void *context;
    /* Whether there is a tensor of that name (which layout of experts a checkpoint uses). */
    bool (*has)(void *context, const char *name);
    /* Hands over `name`, which must have exactly the shape [rank]. MOE_E_FORMAT if it is missing, misshapen,
     * or of a dtype that is no storage format of weights. */
    moe_status (*get)(void *context, struct moe_source_tensor *out, const char *name, const size_t *shape,
                      size_t rank, moe_error *err);
};

/* A source over an open checkpoint, which it borrows. */
struct moe_source moe_source_checkpoint(const struct moe_checkpoint *ck);

#endif
