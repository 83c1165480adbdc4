#ifndef MOE_TESTS_FAULTS_H
#define MOE_TESTS_FAULTS_H
/* Work during which every call that can fail is made to fail (tests/check/seam.h). */

#include "base/status.h"

/* Does the work once and undoes it; what it returns is the status of the work. */
typedef moe_status faults_body(void *context, moe_error *err);

/* Runs `body` with its Nth call failing, for N = 1, 2, ... to the last, once with that call alone and once
 * with all that follow failing too; then with calls interrupted (EINTR), and with reads and writes of one
 * byte at a time. A run must return `expected`, which it does untouched, or MOE_E_IO or MOE_E_MEMORY with one
 * line; interrupted or slow it must return `expected`. Every block, descriptor and page must be gone at its
 * end. Fails the Criterion test otherwise. Returns how many calls there are. */
size_t faults_check(const char *label, faults_body *body, void *context, moe_status expected);

#endif
