/* The exp that every kernel repeats: within 1 ulp of the true value, right at the edges. */
#include "tests/kernels/check.h"

#include <math.h>
#include <string.h>

#include "kernels/scalar/exp.h"

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void near_libm(float x) {
    const double want = exp((double)x);
    check_near(want, (double)moe_exp(x), check_ulp(want), "exp of %a", (double)x);
}

Test(exp, within_one_ulp) {
    for (uint32_t bits = 0; bits < 0x42b17218; bits += 997) near_libm(from_bits(bits)); /* 0 .. 88.72 */
    for (uint32_t bits = 0x80000000; bits < 0xc2d20000; bits += 997)
        near_libm(from_bits(bits)); /* -0 .. -105 */
}

Test(exp, edges) {
    cr_assert(moe_exp(0.0f) == 1 && moe_exp(-0.0f) == 1);
    cr_assert(moe_exp(INFINITY) == INFINITY && moe_exp(-INFINITY) == 0);
    cr_assert(isnan(moe_exp(NAN)));
    cr_assert(moe_exp(0x1.62e42ep+6f) < INFINITY, "the largest argument without overflow");
    cr_assert(moe_exp(0x1.62e430p+6f) == INFINITY);
    cr_assert(moe_exp(-103.9f) == 0x1p-149f, "the least subnormal");
    cr_assert(moe_exp(-104.0f) == 0 && moe_exp(-1e30f) == 0);
}
