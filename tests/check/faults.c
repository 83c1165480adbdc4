#include "tests/check/faults.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#include "tests/check/seam.h"

#ifndef MOE_FAULTS_EVERY /* where a run is slow, only every so many-th call fails */
#define MOE_FAULTS_EVERY 1
#endif

static bool is_one_line(const char *message) {
    size_t n = strlen(message);
    return n > 0 && n < MOE_ERROR_SIZE && !strpbrk(message, "\r\n");
}

/* One run; whether the fault was reached. */
static bool run_once(const char *label, faults_body *body, void *context, moe_status expected,
                     enum seam_mode mode, size_t fail_at) {
    static const char *const names[] = {"untouched", "once", "for ever", "interrupted", "byte by byte"};
    moe_error err = {{0}};
    const char *name = names[mode];
    struct seam_held before = seam_held();
    seam_begin(mode, fail_at);
    moe_status status = body(context, &err);
    seam_end();
    bool reached = seam_calls() >= fail_at;
    struct seam_held after = seam_held();
    cr_assert(after.blocks == before.blocks, "%s, %s %zu: %ld blocks leak", label, name, fail_at,
              after.blocks - before.blocks);
    cr_assert(after.descriptors == before.descriptors, "%s, %s %zu: %ld descriptors leak", label, name,
              fail_at, after.descriptors - before.descriptors);
    cr_assert(after.pages == before.pages, "%s, %s %zu: %ld pages leak", label, name, fail_at,
              after.pages - before.pages);
    cr_assert(status == MOE_OK || is_one_line(err.message), "%s, %s %zu: no message of one line", label, name,
              fail_at);
    if (status == expected) return reached;
    cr_assert(reached && (mode == SEAM_ONCE || mode == SEAM_FOR_EVER), "%s, %s %zu: %s", label, name, fail_at,
              err.message);
    cr_assert(status == MOE_E_IO || status == MOE_E_MEMORY, "%s, %s %zu: status %d: %s", label, name, fail_at,
              (int)status, err.message);
    return true;
}

size_t faults_check(const char *label, faults_body *body, void *context, moe_status expected) {
    const size_t every = MOE_FAULTS_EVERY;
    run_once(label, body, context, expected, SEAM_COUNT, SIZE_MAX);
    size_t n_calls = seam_calls();
    for (size_t n = 1; n <= n_calls; n += every) {
        cr_assert(run_once(label, body, context, expected, SEAM_ONCE, n), "%s: call %zu", label, n);
        run_once(label, body, context, expected, SEAM_FOR_EVER, n);
    }
    for (size_t n = 1; run_once(label, body, context, expected, SEAM_INTERRUPT, n); n += every) continue;
    run_once(label, body, context, expected, SEAM_ONE_BYTE, SIZE_MAX);
    return n_calls;
}
