#ifndef MOE_ENGINE_REPACK_H
#define MOE_ENGINE_REPACK_H
/* Weights brought into memory of their own when a model opens: one mapping on huge pages, each matrix at a
 * cache line, those in BF16 packed (base/packed.h) where that is asked for. */

#include "engine/moe.h"
#include "models/spec.h"
#include "models/weights.h"

/* Where the matrices lie then. */
struct moe_repacked {
    void *map; /* NULL: nothing */
    size_t map_bytes;
};

struct moe_repack_options {
    bool packs;        /* BF16 becomes PACKED; else all is only copied */
    bool is_synthetic; /* what was copied is memory that is given back, not a file */
    size_t n_threads;
    moe_progress_fn *progress; /* phase "packing" or "copying"; NULL: none */
    void *context;
};

/* Replaces every matrix that moe_weights_visit shows, and their count of bytes. What they borrowed before is
 * dropped from memory as it was copied, and must not be read again if it is synthetic. MOE_E_MEMORY if this
 * machine does not have the memory; the weights may be closed then, nothing else. */
moe_status moe_repack(struct moe_repacked *out, struct moe_weights *weights, const struct moe_spec *spec,
                      const struct moe_repack_options *options, moe_error *err);
/* The bytes that the machine must have for it, and of which moe_repack makes sure: escapes come on top. Reads
 * no weights. MOE_E_MEMORY: there is none to count with. */
moe_status moe_repack_measure(size_t *bytes, struct moe_weights *weights, const struct moe_spec *spec,
                              const struct moe_repack_options *options, moe_error *err);
void moe_repacked_free(struct moe_repacked *repacked);

#endif
