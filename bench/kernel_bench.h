#ifndef MOE_BENCH_KERNEL_BENCH_H
#define MOE_BENCH_KERNEL_BENCH_H
/* What the parts of kernel_bench share: settings, the machine's limits, measuring and reporting. */

#include <time.h>

#include "cli/output.h"
#include "kernels/openblas.h"
#include "kernels/select.h"

enum {
    MAX_SAMPLES = 99,
    WIDTH = 2048,      /* elements of a usual row */
    ESCAPE_EVERY = 200 /* blocks of PACKED: about as often as normally distributed weights have it */
};

struct settings {
    size_t rows, cols, k; /* of the GEMM cases; 0: the usual ones */
    size_t n_samples;
    double seconds; /* that one sample takes at least */
    clockid_t clock;
    const char *op, *isa; /* NULL: all */
    bool groups, huge_pages, json;
};

/* Where data that is used again and again lies, and how fast one thread reads it from there. */
enum level { LEVEL_L1, LEVEL_L2, LEVEL_L3, LEVEL_MEMORY, LEVELS };

struct bench {
    const struct settings *set;
    const char *isa;
    struct moe_kernels k;
    struct moe_openblas openblas; /* open where groups are measured and the build has it */
    double flops[2];              /* FLOP/s of this instruction set's multiply-adds, by moe_precision */
    double bandwidth[LEVELS];     /* byte/s */
    size_t level_bytes[LEVELS];   /* what fits; SIZE_MAX for memory */
    unsigned char *big;           /* [big_bytes], beyond the last cache: small random numbers in any format */
    unsigned char *powers;        /* [big_bytes / 16]: scales of MXFP4, moderate too */
    size_t big_bytes;
    uint32_t *first, *block; /* of PACKED, room for a matrix of big_bytes whose rows are one block or more */
    volatile float sink;
    struct output out;
    struct json j;
};

/* A measured case: what a run reads and writes, and the operations it does (a fused multiply-add is two). */
struct result {
    const char *op, *format; /* format: NULL for operations on fp32 vectors */
    const char *what;
    double seconds, bytes, flops;
    double working_set; /* bytes that repeated runs touch; 0: `bytes` */
    moe_precision precision;
};

/* One for every line of the .def files: an operation without one does not link. */
#define MOE_OP(op) void bench_##op(struct bench *b);
#include "kernels/ops.def"
#undef MOE_OP
#define MOE_FORMAT_OP(op) void bench_##op(struct bench *b, enum moe_format f);
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
#define MOE_LAYOUT_OP(op) void bench_##op(struct bench *b, enum moe_layout layout);
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP

/* The grouped expert GEMM, natively and by OpenBLAS. */
void bench_groups(struct bench *b);

/* ---- kernel_measure.c --------------------------------------------------------------------------------- */

/* b zeroed but for `set`. */
void bench_open(struct bench *b);
void bench_close(struct bench *b);
/* Chooses the instruction set and measures its limits. */
void bench_select(struct bench *b, enum moe_isa isa);

typedef void run_fn(struct bench *b, void *args, size_t times);
/* Seconds per run: the median of samples. */
double measure(struct bench *b, run_fn *run, void *args);
double clock_now(const struct bench *b);
double median(double *x, size_t n); /* sorts x [n], n > 0 */
void report(struct bench *b, const struct result *r);

/* Aligned to 64 bytes, zeroed, or the end of the program; free(). */
void *take(size_t bytes);
float *random_floats(size_t n); /* -1 to 1 */

#endif
