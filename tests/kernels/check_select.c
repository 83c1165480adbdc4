#include "tests/kernels/check.h"

#include <string.h>

Test(select, every_set_is_whole) {
    for (int i = 0; i < MOE_ISA_COUNT; i++) {
        struct moe_kernels k;
        moe_kernels_select(&k, (enum moe_isa)i);
#define MOE_OP(op) cr_assert(k.op, "%s: " #op, moe_isa_get_name((enum moe_isa)i));
#include "kernels/ops.def"
#undef MOE_OP
        for (int f = 0; f < MOE_FORMAT_COUNT; f++) {
#define MOE_FORMAT_OP(op) cr_assert(k.format[f].op);
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
        }
        for (int l = 0; l < MOE_LAYOUT_COUNT; l++) {
#define MOE_LAYOUT_OP(op) cr_assert(k.layout[l].op);
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
        }
    }
}

Test(select, limit) {
    enum moe_isa isa;
    moe_error err;
    cr_assert_eq(moe_isa_select(&isa, "scalar", &err), MOE_OK);
    cr_assert_eq((int)isa, MOE_ISA_scalar);
    cr_assert_eq(moe_isa_select(&isa, NULL, NULL), MOE_OK);
    cr_assert(moe_isa_runs_here(isa));
    for (int i = (int)isa + 1; i < MOE_ISA_COUNT; i++) cr_assert(!moe_isa_runs_here((enum moe_isa)i));
    for (int i = 0; i < MOE_ISA_COUNT; i++) {
        enum moe_isa chosen;
        const bool here = moe_isa_runs_here((enum moe_isa)i);
        cr_assert_eq(moe_isa_select(&chosen, moe_isa_get_name((enum moe_isa)i), &err),
                     here ? MOE_OK : MOE_E_ARGUMENT);
        if (here) cr_assert_eq((int)chosen, i);
    }
}

Test(select, unknown_name) {
    enum moe_isa isa;
    moe_error err;
    cr_assert_eq(moe_isa_select(&isa, "sse9", &err), MOE_E_ARGUMENT);
    cr_assert(strstr(err.message, "sse9") && strstr(err.message, "scalar"), "%s", err.message);
}
