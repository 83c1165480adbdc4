#ifndef MOE_ENGINE_PACK_WORK_H
#define MOE_ENGINE_PACK_WORK_H
/* What packing, comparing and verifying files share: options, progress, and a matrix that is gone through by
 * several threads, some rows at a time, each read when its turn comes. */

#include "base/matrix.h"
#include "engine/threads.h"
#include "loader/checkpoint.h"

/* Numbers of the file, in its __metadata__. */
#define MOE_PACK_VERSION_KEY "moe.packed"
#define MOE_PACK_VERSION     "1"
#define MOE_PACK_HASH_PREFIX "xxh3:" /* then the tensor's name */

enum {
    MOE_PACK_CHUNK = 1 << 20, /* bytes of BF16 that a thread reads at once */
    MOE_PACK_BATCH = 32       /* chunks between two looks at the outside world */
};

struct moe_pack_work {
    moe_pack_options options; /* defaults filled in */
    const char *phase;
    uint64_t done, total; /* bytes */
    struct moe_team team;
};

/* opt may be NULL. MOE_E_MEMORY if its threads cannot be had. */
moe_status moe_pack_work_open(struct moe_pack_work *work, const moe_pack_options *opt, moe_error *err);
void moe_pack_work_begin(struct moe_pack_work *work, const char *phase, uint64_t total);
/* `bytes` more are done. MOE_E_CANCELLED if the caller wants no more. */
moe_status moe_pack_work_advance(struct moe_pack_work *work, uint64_t bytes, moe_error *err);

bool moe_pack_has_suffix(const char *text, const char *suffix);

/* A stack of BF16 matrices as a checkpoint has it, a single one being a stack of 1. */
struct moe_pack_matrix {
    const struct moe_tensor *tensor;
    size_t n, rows, cols;
    bool is_stacked; /* the tensor has n in its shape */
};

/* Every matrix of a tensor of rank 2 or 3. */
struct moe_pack_matrix moe_pack_matrix_of(const struct moe_tensor *t);

/* Rows [first, first + w.rows) of matrix i of the stack; chunk: their number within the batch. */
struct moe_pack_rows {
    struct moe_matrix w; /* BF16, in memory of the worker */
    size_t i, first, chunk;
    size_t rank; /* of the worker */
};

typedef moe_status moe_pack_rows_fn(void *context, const struct moe_pack_rows *rows, moe_error *err);

/* Calls `each` for all rows of matrix i, on several threads, and `after` when a batch is done, on the
 * caller's: rows [first, first + n) of it then are. `after` may be NULL. */
struct moe_pack_loop {
    const struct moe_checkpoint *source;
    const struct moe_pack_matrix *matrix;
    size_t i;
    moe_pack_rows_fn *each;
    moe_status (*after)(void *context, size_t first, size_t n, moe_error *err);
    void *context;
    uint64_t bytes_per_row; /* of progress */
};
moe_status moe_pack_loop_run(struct moe_pack_work *work, const struct moe_pack_loop *loop, moe_error *err);
/* Rows that are read at once. */
size_t moe_pack_chunk_rows(size_t cols);

/* The checksum of a tensor: XXH3 of 64 bits over its dtype and shape as text, "BF16[2,3]\n", then its bytes.
 */
struct moe_pack_hash {
    void *state; /* NULL: none */
};
moe_status moe_pack_hash_begin(struct moe_pack_hash *out, const char *dtype, const size_t *shape, size_t rank,
                               moe_error *err);
void moe_pack_hash_add(struct moe_pack_hash *hash, const void *bytes, size_t n);
/* Frees the state. */
uint64_t moe_pack_hash_end(struct moe_pack_hash *hash);

#endif
