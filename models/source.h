#ifndef MOE_MODELS_SOURCE_H
#define MOE_MODELS_SOURCE_H
/* Where weights come from: a checkpoint, random numbers, or a list that only records what is asked for. */

#include <stdint.h>

#include "base/status.h"
#include "loader/checkpoint.h"

/* A set of dtypes: MOE_DTYPE_BIT(F32) | MOE_DTYPE_BIT(U8), ... */
#define MOE_DTYPE_BIT(id) ((uint32_t)1 << MOE_DTYPE_##id)
#define MOE_DTYPES_FLOAT  (MOE_DTYPE_BIT(F32) | MOE_DTYPE_BIT(BF16) | MOE_DTYPE_BIT(F16))
_Static_assert(MOE_DTYPE_COUNT <= 32, "a set of dtypes has 32 bits");

/* A tensor as a source hands it over: its bytes have any alignment and are borrowed for the life of the
 * source. */
struct moe_source_tensor {
    enum moe_dtype dtype;
    const void *data;
    size_t n_bytes;
    const char *file; /* for messages */
};

/* In a shape that is asked for: a size that only the source knows. */
#define MOE_ANY_SIZE SIZE_MAX

struct moe_source {
    void *context;
    /* Whether there is a tensor of that name, and its dtype (may be NULL): how the checkpoint stores it. */
    bool (*has)(void *context, enum moe_dtype *dtype, const char *name);
    /* Hands over `name`, which must have exactly the shape [rank] and one of `dtypes`. MOE_E_FORMAT if it is
     * missing or misshapen, MOE_E_UNSUPPORTED if its dtype is another. */
    moe_status (*get)(void *context, struct moe_source_tensor *out, const char *name, const size_t *shape,
                      size_t rank, uint32_t dtypes, moe_error *err);
    bool makes_all; /* whatever is asked for: `has` tells how it is stored, not whether it was there */
};

/* A source over an open checkpoint, which it borrows. */
struct moe_source moe_source_checkpoint(const struct moe_checkpoint *ck);

#endif
