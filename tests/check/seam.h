#ifndef MOE_TESTS_SEAM_H
#define MOE_TESTS_SEAM_H
/* The seam at which calls fail: allocations, files, maps and threads of everything linked into a test binary
 * (the linker redirects them: see moe_test_seam in tests/CMakeLists.txt) and cJSON's allocations (its hooks).
 */

#include <stddef.h>

enum seam_mode {
    SEAM_COUNT,     /* nothing fails */
    SEAM_ONCE,      /* the Nth call fails */
    SEAM_FOR_EVER,  /* and all after it */
    SEAM_INTERRUPT, /* the Nth call that a signal may interrupt is interrupted (EINTR) */
    SEAM_ONE_BYTE   /* reads and writes move a byte at a time */
};

/* Calls are counted, and fail, from here to seam_end, in whatever thread. */
void seam_begin(enum seam_mode mode, size_t n);
/* How many calls there were that could fail in this mode: the Nth was reached if that is N or more. Before
 * seam_end: so far. */
size_t seam_calls(void);
void seam_end(void);
/* Between these no call counts or fails: a test looks at what there is. */
void seam_pause(void);
void seam_resume(void);
/* Blocks and maps that were taken since seam_begin, given back or not. */
size_t seam_taken(void);

/* Taken and not given back, since the program began. */
struct seam_held {
    long blocks, descriptors, pages;
};
struct seam_held seam_held(void);

#endif
