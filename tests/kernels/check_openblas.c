/* OpenBLAS against double, and that neither way writes outside its outputs. */
#include "tests/kernels/check.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "kernels/openblas.h"

typedef void gemm_fn(const struct moe_openblas *blas, const struct moe_openblas_problem *problems,
                     size_t n_problems, size_t n_cols, size_t k);

static struct moe_openblas blas;

enum { PROBLEMS = 37 }; /* past one batch */

/* In whatever order a library adds, k products and k - 1 sums are rounded: k u times the sum of |terms|. */
static void near_double(const struct moe_openblas_problem *p, size_t n_cols, size_t k) {
    for (size_t i = 0; i < p->n; i++)
        for (size_t c = 0; c < n_cols; c++) {
            double sum = 0, terms = 0;
            for (size_t j = 0; j < k; j++) {
                const double term = (double)p->x[i * p->ld_x + j] * (double)p->w[c * p->ld_w + j];
                sum += term;
                terms += fabs(term);
            }
            check_near(sum, (double)p->y[i * p->ld_y + c], (double)k * CHECK_U * (1 + 0x1p-10) * terms,
                       "openblas: k %zu, row %zu of %zu, column %zu", k, i, p->n, c);
        }
}

static void check_list(gemm_fn *gemm, size_t n_problems, size_t n_cols, size_t k) {
    struct moe_openblas_problem p[PROBLEMS];
    const size_t ld = k + check_below(5), ld_y = n_cols + check_below(5);
    float *w = check_floats(n_cols * ld), *x = check_floats(20 * ld),
          *y = check_floats(n_problems * 20 * ld_y);
    check_fill(w, n_cols * ld, CHECK_UNIT);
    check_fill(x, 20 * ld, CHECK_UNIT);
    for (size_t i = 0; i < n_problems * 20 * ld_y; i++) y[i] = 12345;
    for (size_t i = 0; i < n_problems; i++) {
        const size_t from = check_below(20);
        p[i] = (struct moe_openblas_problem){.y = y + i * 20 * ld_y,
                                             .x = x + from * ld,
                                             .w = w,
                                             .n = check_below(21 - from),
                                             .ld_y = ld_y,
                                             .ld_x = ld,
                                             .ld_w = ld};
    }
    gemm(&blas, p, n_problems, n_cols, k);
    for (size_t i = 0; i < n_problems; i++) {
        near_double(&p[i], n_cols, k);
        for (size_t j = 0; j < 20 * ld_y; j++)
            if (j / ld_y >= p[i].n || j % ld_y >= n_cols)
                if (p[i].y[j] != 12345) cr_assert_fail("openblas: wrote outside of problem %zu", i);
    }
    check_reset();
}

static void load(void) {
    moe_error err = {{0}};
    moe_status status = moe_openblas_open(&blas, &err);
    cr_assert_eq(status, moe_openblas_available() ? MOE_OK : MOE_E_UNSUPPORTED, "%s", err.message);
    if (status != MOE_OK) cr_skip("this build has no OpenBLAS");
}

static void check_all(gemm_fn *gemm) {
    load();
    check_list(gemm, 0, 3, 4);
    check_list(gemm, 3, 0, 4);
    for (size_t k = 1; k < 40; k++) check_list(gemm, 1 + check_below(4), 1 + check_below(40), k);
    check_list(gemm, PROBLEMS, 33, 100);
    check_list(gemm, 8, 96, 768);
}

Test(openblas, best_way) {
    check_all(moe_openblas_gemm);
}

Test(openblas, loop) {
    check_all(moe_openblas_gemm_loop);
}

enum { WORKERS = 4, K = 512, COLS = 256, ROWS = 64 };

static void *work(void *problem) {
    for (int i = 0; i < 10; i++) moe_openblas_gemm(&blas, problem, 1, COLS, K);
    return NULL;
}

static size_t count_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    size_t n = 0;
    while (tasks && readdir(tasks)) n++;
    if (tasks) closedir(tasks);
    return n;
}

/* Several callers at once, as the engine's workers are, and no threads of its own: right, and no thread more.
 */
Test(openblas, callers_bring_the_threads) {
    load();
    float *w = check_floats(COLS * K), *x = check_floats(ROWS * K), *y = check_floats(WORKERS * ROWS * COLS);
    check_fill(w, COLS * K, CHECK_UNIT);
    check_fill(x, ROWS * K, CHECK_UNIT);
    struct moe_openblas_problem p[WORKERS];
    pthread_t threads[WORKERS];
    for (size_t i = 0; i < WORKERS; i++)
        p[i] = (struct moe_openblas_problem){y + i * ROWS * COLS, x, w, ROWS, COLS, K, K};
    const size_t before = count_threads();
    work(&p[0]);
    cr_assert_eq(count_threads(), before);
    for (size_t i = 0; i < WORKERS; i++) cr_assert_eq(pthread_create(&threads[i], NULL, work, &p[i]), 0);
    for (size_t i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < WORKERS; i++) near_double(&p[i], COLS, K);
    check_reset();
}

Test(openblas, name) {
    const char *name = moe_openblas_name();
    cr_assert_eq(moe_openblas_available(), strcmp(name, "openblas (absent)") != 0);
}
