#ifndef MOE_ENGINE_PACK_CHECKPOINT_H
#define MOE_ENGINE_PACK_CHECKPOINT_H
/* What writing a packed checkpoint and checking one (engine/pack_compare.c) share. */

#include "engine/pack_work.h"

#define MOE_PACK_FILE "model.safetensors"

/* Whether `packed` holds every tensor of `source` and no other. Fills the report but for the file's size. */
moe_status moe_pack_compare_checkpoints(const struct moe_checkpoint *source,
                                        const struct moe_checkpoint *packed, struct moe_pack_work *work,
                                        moe_pack_report *report, moe_error *err);

/* The file that `path` is, or that a packed checkpoint has in the directory `path`; the caller frees it. */
moe_status moe_pack_file_of(char **out, const char *path, moe_error *err);

#endif
