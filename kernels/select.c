#include "kernels/select.h"

#include <stdio.h>
#include <string.h>

#include "kernels/cpu.h"

static const struct {
    const char *name;
    unsigned needs;
    const struct moe_kernels *table;
} sets[MOE_ISA_COUNT] = {
#define MOE_ISA(id, name, needs) [MOE_ISA_##id] = {name, needs, &moe_kernels_##id},
#include "kernels/isa.def"
#undef MOE_ISA
};

const char *moe_isa_get_name(enum moe_isa isa) {
    return sets[isa].name;
}

bool moe_isa_runs_here(enum moe_isa isa) {
    return (moe_cpu_features() & sets[isa].needs) == sets[isa].needs;
}

moe_status moe_isa_select(enum moe_isa *out, const char *limit, moe_error *err) {
    char names[128] = "";
    size_t used = 0;
    *out = MOE_ISA_scalar;
    for (int i = 0; i < MOE_ISA_COUNT; i++) {
        if (!moe_isa_runs_here((enum moe_isa)i)) continue;
        *out = (enum moe_isa)i;
        if (limit && strcmp(limit, sets[i].name) == 0) return MOE_OK;
        if (used < sizeof names)
            used +=
                (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", sets[i].name);
    }
    if (!limit) return MOE_OK;
    *out = MOE_ISA_scalar;
    return MOE_FAIL(err, MOE_E_ARGUMENT,
                    "instruction set: \"%s\" is none that can run here, expected one of: %s", limit, names);
}

/* Each member that `over` has replaces the one below. */
static void overlay(struct moe_kernels *out, const struct moe_kernels *over) {
#define MOE_OP(op)                                                                                           \
    if (over->op) out->op = over->op;
#include "kernels/ops.def"
#undef MOE_OP
    for (int i = 0; i < MOE_FORMAT_COUNT; i++) {
#define MOE_FORMAT_OP(op)                                                                                    \
    if (over->format[i].op) out->format[i].op = over->format[i].op;
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
    }
    for (int i = 0; i < MOE_LAYOUT_COUNT; i++) {
#define MOE_LAYOUT_OP(op)                                                                                    \
    if (over->layout[i].op) out->layout[i].op = over->layout[i].op;
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
    }
}

void moe_kernels_select(struct moe_kernels *out, enum moe_isa isa) {
    *out = moe_kernels_scalar;
    for (int i = MOE_ISA_scalar + 1; i <= (int)isa; i++)
        if (moe_isa_runs_here((enum moe_isa)i)) overlay(out, sets[i].table);
}
