/* The build decides (cmake/MoeOpenBLAS.cmake): MOE_HAVE_OPENBLAS, MOE_HAVE_SGEMM_BATCH (since OpenBLAS
 * 0.3.28), MOE_OPENBLAS_PREFIXED (PyPI's build, whose symbols start with scipy_ so that it can share a
 * process). */
#include "kernels/openblas.h"

#ifdef MOE_HAVE_OPENBLAS
#include <assert.h>
#include <limits.h>

#include <cblas.h>

#ifdef MOE_OPENBLAS_PREFIXED
#define BLAS(name) scipy_##name
#else
#define BLAS(name) name
#endif

bool moe_openblas_available(void) {
    return true;
}

void moe_openblas_start(void) {
    BLAS(openblas_set_num_threads)(1);
}

static blasint dim(size_t n) {
    assert(n <= INT_MAX);
    return (blasint)n;
}

void moe_openblas_gemm_loop(const struct moe_openblas_problem *problems, size_t n_problems, size_t n_cols,
                            size_t k) {
    if (n_cols == 0) return;
    for (size_t i = 0; i < n_problems; i++) {
        const struct moe_openblas_problem *p = &problems[i];
        if (p->n == 0) continue;
        BLAS(cblas_sgemm)
        (CblasRowMajor, CblasNoTrans, CblasTrans, dim(p->n), dim(n_cols), dim(k), 1, p->x, dim(p->ld_x), p->w,
         dim(p->ld_w), 0, p->y, dim(p->ld_y));
    }
}

#ifdef MOE_HAVE_SGEMM_BATCH

const char *moe_openblas_name(void) {
    return "openblas (sgemm_batch)";
}

/* Arguments of one call, on the stack: a longer list takes several calls. Each problem is a group of one,
 * since experts differ in their number of rows. */
enum { BATCH = 32 };
struct batch {
    blasint n, m[BATCH], cols[BATCH], k[BATCH], ld_x[BATCH], ld_w[BATCH], ld_y[BATCH], size[BATCH];
    float one[BATCH], zero[BATCH];
    enum CBLAS_TRANSPOSE no[BATCH], yes[BATCH];
    const float *x[BATCH], *w[BATCH];
    float *y[BATCH];
};

static void flush(struct batch *b) {
    if (b->n == 0) return;
    BLAS(cblas_sgemm_batch)
    (CblasRowMajor, b->no, b->yes, b->m, b->cols, b->k, b->one, b->x, b->ld_x, b->w, b->ld_w, b->zero, b->y,
     b->ld_y, b->n, b->size);
    b->n = 0;
}

void moe_openblas_gemm(const struct moe_openblas_problem *problems, size_t n_problems, size_t n_cols,
                       size_t k) {
    struct batch b;
    b.n = 0;
    for (size_t i = 0; i < n_problems && n_cols > 0; i++) {
        const struct moe_openblas_problem *p = &problems[i];
        if (p->n == 0) continue;
        const blasint j = b.n++;
        b.m[j] = dim(p->n);
        b.cols[j] = dim(n_cols);
        b.k[j] = dim(k);
        b.ld_x[j] = dim(p->ld_x);
        b.ld_w[j] = dim(p->ld_w);
        b.ld_y[j] = dim(p->ld_y);
        b.size[j] = 1;
        b.one[j] = 1;
        b.zero[j] = 0;
        b.no[j] = CblasNoTrans;
        b.yes[j] = CblasTrans;
        b.x[j] = p->x;
        b.w[j] = p->w;
        b.y[j] = p->y;
        if (b.n == BATCH) flush(&b);
    }
    flush(&b);
}

#else

const char *moe_openblas_name(void) {
    return "openblas (loop)";
}

void moe_openblas_gemm(const struct moe_openblas_problem *problems, size_t n_problems, size_t n_cols,
                       size_t k) {
    moe_openblas_gemm_loop(problems, n_problems, n_cols, k);
}

#endif
#else

#include <assert.h>

bool moe_openblas_available(void) {
    return false;
}

const char *moe_openblas_name(void) {
    return "openblas (absent)";
}

void moe_openblas_start(void) {
    assert(!"this build has no OpenBLAS");
}

void moe_openblas_gemm(const struct moe_openblas_problem *problems, size_t n_problems, size_t n_cols,
                       size_t k) {
    (void)problems, (void)n_problems, (void)n_cols, (void)k;
    assert(!"this build has no OpenBLAS");
}

void moe_openblas_gemm_loop(const struct moe_openblas_problem *problems, size_t n_problems, size_t n_cols,
                            size_t k) {
    moe_openblas_gemm(problems, n_problems, n_cols, k);
}

#endif
