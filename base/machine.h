#ifndef MOE_BASE_MACHINE_H
#define MOE_BASE_MACHINE_H
/* What the machine has. */

#include <stddef.h>

/* Bytes that can be taken without swapping: the least of MemAvailable and the control group's limit; SIZE_MAX
 * if the system does not tell. */
size_t moe_memory_available(void);
/* What the machine has in all, and what the control group may take; SIZE_MAX: unknown, no limit. */
size_t moe_memory_total(void);
size_t moe_memory_limit(void);

/* Bytes of the last-level caches of the CPUs that the process may use, each counted once; 0 if the system
 * does not tell. */
size_t moe_cache_bytes(void);

#endif
