#ifndef MOE_BASE_ARENA_H
#define MOE_BASE_ARENA_H
/* One aligned block, sized before it is taken, handed out by bumping a pointer. A session measures by running
 * its layout once on an arena without memory, states the total, then runs the same layout for real. */

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { MOE_ALIGN = 64 }; /* a cache line, and the widest vector */

struct moe_arena {
    unsigned char *base; /* NULL while measuring */
    size_t used, size;
    bool overflow; /* a product passed SIZE_MAX: sticky, so that a layout needs one check at its end */
};

/* Space for n * size bytes, zeroed, aligned to MOE_ALIGN. While measuring, or after overflow: NULL. */
void *moe_arena_take(struct moe_arena *a, size_t n, size_t size);

/* Backs a measured arena (a->used bytes) with zero pages and rewinds it. MOE_E_MEMORY if the system has none.
 */
moe_status moe_arena_back(struct moe_arena *a, moe_error *err);

void moe_arena_free(struct moe_arena *a);

#endif
