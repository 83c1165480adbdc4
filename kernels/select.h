#ifndef MOE_KERNELS_SELECT_H
#define MOE_KERNELS_SELECT_H
/* Which instruction sets to use: the scalar table overlaid by each one that the CPU has, up to a limit. */

#include "base/status.h"
#include "kernels/kernels.h"

enum moe_isa {
#define MOE_ISA(id, name, needs) MOE_ISA_##id,
#include "kernels/isa.def"
#undef MOE_ISA
    MOE_ISA_COUNT
};

const char *moe_isa_get_name(enum moe_isa isa);
bool moe_isa_runs_here(enum moe_isa isa);

/* The fastest instruction set that this CPU has and that is not past `limit` (a name; NULL: no limit).
 * MOE_E_ARGUMENT: the build has no such name, or the CPU lacks it; the message lists those it has. */
moe_status moe_isa_select(enum moe_isa *out, const char *limit, moe_error *err);

/* Fills `out` with the scalar table overlaid up to and including `isa` (by those the CPU has). */
void moe_kernels_select(struct moe_kernels *out, enum moe_isa isa);

#endif
