#ifndef MOE_KERNELS_OPENBLAS_H
#define MOE_KERNELS_OPENBLAS_H
/* OpenBLAS as a backend for grouped GEMM in fp32. Its sums are its own: the bits are not those of the
 * kernels, and depend on the shapes of the call and on the CPU. */

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Whether this build found one. Without it moe_openblas_open fails and nothing else may be called,
 * moe_openblas_name apart. */
bool moe_openblas_available(void);

/* "openblas (sgemm_batch)" where the library has cblas_sgemm_batch, "openblas (loop)" where problems go to
 * cblas_sgemm one by one, "openblas (absent)". Static. */
const char *moe_openblas_name(void);

/* The library's functions, each of its own type (openblas.c). */
struct moe_openblas {
    void (*sgemm)(void), (*sgemm_batch)(void); /* sgemm_batch: NULL where there is none */
};

/* Loads the library, for good: only now, since it starts threads and reserves memory when it is loaded, and
 * ends the process if it cannot. It is then told to use one thread per call, for the callers bring their own
 * and the two must not multiply: a setting of the whole process. MOE_E_UNSUPPORTED if the build found no
 * OpenBLAS; MOE_E_IO if what it found cannot be loaded. Doing it again does no harm. */
moe_status moe_openblas_open(struct moe_openblas *out, moe_error *err);

/* y [n, n_cols] = x [n, k] * w [n_cols, k]^T, all fp32 and row-major, any alignment of float. */
struct moe_openblas_problem {
    float *y;
    const float *x, *w;
    size_t n;                /* 0 is fine: nothing is done */
    size_t ld_y, ld_x, ld_w; /* from one row to the next, in elements; >= the row's length */
};

/* Computes every problem. All sizes and ld_* must fit an int. May be called from several threads at once, on
 * outputs that do not overlap (OpenBLAS serialises nothing but the hand-out of its scratch buffers). */
void moe_openblas_gemm(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                       size_t n_problems, size_t n_cols, size_t k);

/* The same by cblas_sgemm, one problem after the other: the fallback, callable everywhere to compare with. */
void moe_openblas_gemm_loop(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                            size_t n_problems, size_t n_cols, size_t k);

#endif
