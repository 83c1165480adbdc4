#ifndef MOE_BASE_MACHINE_H
#define MOE_BASE_MACHINE_H
/* What the machine has. */

#include <stddef.h>

/* Bytes that can be taken without swapping: the least of MemAvailable and the control group's limit; SIZE_MAX
 * if the system does not tell. */
size_t moe_memory_available(void);

#endif
