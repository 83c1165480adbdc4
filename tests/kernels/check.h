#ifndef MOE_TESTS_KERNELS_CHECK_H
#define MOE_TESTS_KERNELS_CHECK_H
/* The harness of the kernels' tests, after dav1d's checkasm: every operation of the .def files runs once per
 * instruction set of the build, on guarded buffers filled from a seed, and must give the scalar table's bits.
 * The scalar table itself is held against double precision, with tolerances derived from its sums.
 *
 * Environment: MOE_TEST_ISA limits a run to one instruction set, MOE_TEST_SEED replaces the seed that a
 * failure prints. */

#include <criterion/criterion.h>

#include "kernels/kernels.h"
#include "kernels/select.h"

#define CHECK_U 0x1p-24 /* unit roundoff of float */

struct check {
    const char *isa;
    bool scalar;                   /* the table under test is the scalar one: hold it against double */
    struct moe_kernels k;          /* under test */
    const struct moe_kernels *ref; /* scalar */
};

/* One per operation: without it the tests do not link. */
#define MOE_OP(op) void check_##op(const struct check *c);
#include "kernels/ops.def"
#undef MOE_OP
#define MOE_FORMAT_OP(op) void check_##op(const struct check *c, enum moe_format f);
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
#define MOE_LAYOUT_OP(op) void check_##op(const struct check *c, enum moe_layout layout);
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP

/* A buffer between two pages that fault, flush with one of them in turn; what alignment leaves over is filled
 * with a pattern that check_guards looks at. Lives until check_reset. `bytes` may be 0. */
void *check_bytes(size_t bytes, size_t align);
float *check_floats(size_t n);         /* aligned for float and no more */
float *check_aligned_floats(size_t n); /* aligned to 64 bytes */

/* Fails if anything outside the buffers was written. */
void check_guards(void);
/* Frees all buffers, after check_guards. */
void check_reset(void);

uint32_t check_random(void);
size_t check_below(size_t n); /* 0..n-1 */

enum check_fill {
    CHECK_UNIT,   /* uniform in (-1, 1) */
    CHECK_WIDE,   /* both signs, exponents over the whole range of normal and subnormal numbers */
    CHECK_SPECIAL /* CHECK_UNIT with zeros of both signs, subnormals, the largest number, infinities and NaN
                   */
};
enum { CHECK_FILLS = 3 };
void check_fill(float *x, size_t n, enum check_fill kind);
/* The least number of columns >= n that a matrix of this format may have. */
size_t check_cols(enum moe_format f, size_t n);

/* A matrix of random weights, check_cols(cols) == cols; its rows are `gap` bytes further apart than they must
 * be, the bytes between are random. PACKED as by check_packed. Of a quantised format codes are uniform and
 * the scales (numbers of any format, of groups of any size, at any first row of theirs, in rows with gaps)
 * are of the kind; NaN codes are rare, and none with CHECK_UNIT. */
struct moe_matrix check_matrix(enum moe_format f, size_t rows, size_t cols, size_t gap, enum check_fill kind);

/* A matrix of format PACKED and the BF16 one that it was packed from. Escapes are none, few, about half of
 * the blocks, or as many as numbers of the kind happen to make; what is kept apart has no alignment either.
 */
struct check_packed {
    struct moe_matrix source, packed;
};
struct check_packed check_packed(size_t rows, size_t cols, size_t gap, enum check_fill kind);

/* Bit for bit, any NaN equal to any other. `where` says what was computed, printf style. */
void check_same_bits(const float *ref, const float *got, size_t n, const char *where, ...)
    __attribute__((format(printf, 4, 5)));
/* |got - want| <= tolerance */
void check_near(double want, double got, double tolerance, const char *where, ...)
    __attribute__((format(printf, 4, 5)));

/* The distance from one float to the next, at |x|. */
double check_ulp(double x);

/* Sizes to try: all up to past two of the widest vectors, then some typical ones. Ends with 0. */
extern const size_t check_sizes[];

#endif
