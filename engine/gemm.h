#ifndef MOE_ENGINE_GEMM_H
#define MOE_ENGINE_GEMM_H
/* Grouped matrix products: a list of problems Y = X W^T cut into tasks over the workers of a team, each by
 * the native tile of the kernel table or handed to OpenBLAS. */

#include "base/arena.h"
#include "engine/moe.h"
#include "engine/threads.h"
#include "kernels/kernels.h"
#include "kernels/openblas.h"

/* Rows of activations, kept in every layout that some matrix of the model wants. Rows are padded to
 * whole blocks of every layout with zeros that nobody writes. */
struct moe_activations {
    float *data[MOE_LAYOUT_COUNT]; /* [n_rows, ld] each; NATURAL always, others NULL where unused */
    size_t n_columns, ld;
};

/* Takes n_rows rows of n_columns in NATURAL and in the other layouts marked. */
void moe_activations_take(struct moe_activations *out, struct moe_arena *arena, size_t n_rows,
                          size_t n_columns, const bool layouts[MOE_LAYOUT_COUNT]);
/* Row r in NATURAL order, to be filled; then moe_activations_pack lays it out for the other layouts. */
float *moe_activations_row(const struct moe_activations *a, size_t r);
void moe_activations_pack(const struct moe_activations *a, size_t r, const struct moe_kernels *kernels);

/* y[i, c] = dot(x row (index ? index[i] : first_row + i * row_step), w row c); row_step 0 means 1 */
struct moe_problem {
    const struct moe_activations *x;
    size_t first_row, row_step, n_rows;
    const uint32_t *index; /* [n_rows] or NULL */
    const struct moe_matrix *w;
    float *y; /* [n_rows, ld_y] */
    size_t ld_y;
};

/* Scratch of one worker for OpenBLAS: fp32 copies of weights, and gathered rows. */
struct moe_openblas_scratch {
    float *weights, *rows;
    size_t n_weights, n_rows; /* floats */
};

/* For problems of at most max_rows rows and max_columns columns of X. */
void moe_openblas_scratch_take(struct moe_openblas_scratch *out, struct moe_arena *arena, size_t max_rows,
                               size_t max_columns);

struct moe_gemm_backend {
    const struct moe_kernels *kernels;
    const struct moe_openblas *openblas;  /* NULL: natively */
    struct moe_openblas_scratch *scratch; /* [n_workers], with OpenBLAS only */
    moe_counters *counters;               /* weight_bytes and flops, by worker 0 */
};

/* One phase: all workers call it with the same list; it returns when the worker finds no task left, without a
 * barrier. Problems of no rows are skipped. */
void moe_gemm_run(struct moe_worker *worker, const struct moe_gemm_backend *backend,
                  const struct moe_problem *problems, size_t n_problems);

#endif
