#ifndef MOE_BASE_STATUS_H
#define MOE_BASE_STATUS_H
/* How every layer reports failure: a status returned, one message written once, where the fault is seen.
 * The types are the public ones (engine/moe.h, which depends on nothing); here are the macros to use them. */

#include "engine/moe.h"

/* Writes the message (cut to MOE_ERROR_SIZE) with control characters made visible, and returns `status`.
 * err may be NULL. Format: "file: key or tensor: what, what was expected". */
moe_status moe_fail(moe_error *err, moe_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifndef __clang_analyzer__
#define MOE_FAIL(err, status, ...) moe_fail((err), (status), __VA_ARGS__)
#else /* it cannot see into moe_fail, and would follow the path on which failing returns MOE_OK */
#define MOE_FAIL(err, status, ...)                                                                           \
    __extension__({                                                                                          \
        moe_fail((err), (status), __VA_ARGS__);                                                              \
        __builtin_assume((status) != MOE_OK);                                                                \
        (status);                                                                                            \
    })
#endif

/* Returns at once if `call` failed; where there is something to undo, test the status and `goto fail`. */
#define MOE_TRY(call)                                                                                        \
    do {                                                                                                     \
        moe_status moe_try_status = (call);                                                                  \
        if (moe_try_status != MOE_OK) return moe_try_status;                                                 \
    } while (0)

#endif
