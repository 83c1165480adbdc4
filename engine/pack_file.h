#ifndef MOE_ENGINE_PACK_FILE_H
#define MOE_ENGINE_PACK_FILE_H
/* Writes one safetensors file in which some matrices of a checkpoint are packed and all else is as it was. */

#include "engine/pack_work.h"

/* Packs matrices [n] of `source` into the empty file fd (`file` in messages), copies its other tensors, and
 * flushes it to the disk. Fills the report but for its header's part. */
moe_status moe_pack_file_write(int fd, const char *file, const struct moe_checkpoint *source,
                               const struct moe_pack_matrix *matrices, size_t n, struct moe_pack_work *work,
                               moe_pack_report *report, moe_error *err);

#endif
