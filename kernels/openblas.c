/* The build decides (cmake/MoeOpenBLAS.cmake): MOE_HAVE_OPENBLAS, MOE_OPENBLAS_FILE (what is loaded, found
 * like any shared library), MOE_HAVE_SGEMM_BATCH (since OpenBLAS 0.3.28), MOE_OPENBLAS_PREFIXED (PyPI's
 * build, whose symbols start with scipy_ so that it can share a process). */
#include "kernels/openblas.h"

#ifdef MOE_HAVE_OPENBLAS
#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#include <cblas.h>

#ifdef MOE_OPENBLAS_PREFIXED
#define BLAS(name)   scipy_##name
#define SYMBOL(name) "scipy_" #name
#else
#define BLAS(name)   name
#define SYMBOL(name) #name
#endif
/* a function of the library, called through the type that its header gives it */
#define CALL(function, name) ((__typeof__(&BLAS(name)))(function))

bool moe_openblas_available(void) {
    return true;
}

static moe_status find(void (**out)(void), void *library, const char *symbol, moe_error *err) {
    void *address = dlsym(library, symbol);
    if (!address) return MOE_FAIL(err, MOE_E_IO, "gemm openblas: %s has no %s", MOE_OPENBLAS_FILE, symbol);
    memcpy(out, &address, sizeof address); /* POSIX has both alike, C does not */
    return MOE_OK;
}

moe_status moe_openblas_open(struct moe_openblas *out, moe_error *err) {
    void (*set_threads)(void) = NULL;
    *out = (struct moe_openblas){0};
    void *library = dlopen(MOE_OPENBLAS_FILE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) return MOE_FAIL(err, MOE_E_IO, "gemm openblas: cannot be loaded: %s", dlerror());
    moe_status status = find(&out->sgemm, library, SYMBOL(cblas_sgemm), err);
#ifdef MOE_HAVE_SGEMM_BATCH
    if (status == MOE_OK) status = find(&out->sgemm_batch, library, SYMBOL(cblas_sgemm_batch), err);
#endif
    if (status == MOE_OK) status = find(&set_threads, library, SYMBOL(openblas_set_num_threads), err);
    if (status == MOE_OK) CALL(set_threads, openblas_set_num_threads)(1);
    dlclose(library);
    return status;
}

static blasint dim(size_t n) {
    assert(n <= INT_MAX);
    return (blasint)n;
}

void moe_openblas_gemm_loop(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                            size_t n_problems, size_t n_cols, size_t k) {
    if (n_cols == 0) return;
    for (size_t i = 0; i < n_problems; i++) {
        const struct moe_openblas_problem *p = &problems[i];
        if (p->n == 0) continue;
        CALL(blas->sgemm, cblas_sgemm)
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

static void flush(const struct moe_openblas *blas, struct batch *b) {
    if (b->n == 0) return;
    CALL(blas->sgemm_batch, cblas_sgemm_batch)
    (CblasRowMajor, b->no, b->yes, b->m, b->cols, b->k, b->one, b->x, b->ld_x, b->w, b->ld_w, b->zero, b->y,
     b->ld_y, b->n, b->size);
    b->n = 0;
}

void moe_openblas_gemm(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                       size_t n_problems, size_t n_cols, size_t k) {
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
        if (b.n == BATCH) flush(blas, &b);
    }
    flush(blas, &b);
}

#else

const char *moe_openblas_name(void) {
    return "openblas (loop)";
}

void moe_openblas_gemm(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                       size_t n_problems, size_t n_cols, size_t k) {
    moe_openblas_gemm_loop(blas, problems, n_problems, n_cols, k);
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

moe_status moe_openblas_open(struct moe_openblas *out, moe_error *err) {
    *out = (struct moe_openblas){0};
    return MOE_FAIL(err, MOE_E_UNSUPPORTED, "gemm openblas: this build has no OpenBLAS");
}

void moe_openblas_gemm(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                       size_t n_problems, size_t n_cols, size_t k) {
    (void)blas, (void)problems, (void)n_problems, (void)n_cols, (void)k;
    assert(!"this build has no OpenBLAS");
}

void moe_openblas_gemm_loop(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                            size_t n_problems, size_t n_cols, size_t k) {
    moe_openblas_gemm(blas, problems, n_problems, n_cols, k);
}

#endif
