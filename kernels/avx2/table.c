/* What is absent stays with the next slower instruction set. */
#include "kernels/kernels.h"

const struct moe_kernels moe_kernels_avx2 = {0};
