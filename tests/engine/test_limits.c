/* The machine's limits: not how large they are, but that they are measured, and what is refused. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "base/machine.h"
#include "engine/moe.h"

Test(limits, are_positive) {
    double bandwidth, flops;
    moe_error err = {{0}};
    cr_assert_eq(moe_machine_limits(&bandwidth, &flops, 2, NULL, MOE_PRECISION_FP32, &err), MOE_OK, "%s",
                 err.message);
    cr_assert_gt(bandwidth, 0);
    cr_assert_gt(flops, 0);
}

Test(limits, unknown_instruction_set) {
    double bandwidth = 1, flops = 1;
    moe_error err = {{0}};
    cr_assert_neq(moe_machine_limits(&bandwidth, &flops, 1, "nothing", MOE_PRECISION_FP32, &err), MOE_OK);
    cr_assert_eq(bandwidth, 0);
    cr_assert_eq(flops, 0);
    cr_assert_neq(err.message[0], '\0');
}

/* A process sees as many last-level caches as it may use, so at least one of the size that the C library
 * names. */
Test(limits, caches) {
    const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    const size_t bytes = moe_cache_bytes();
    if (l3 > 0 && bytes > 0) cr_assert_geq(bytes, (size_t)l3);
    if (bytes > 0) cr_assert_eq(bytes % 1024, 0);
}
