#ifndef MOE_KERNELS_SCALAR_LANES_H
#define MOE_KERNELS_SCALAR_LANES_H
/* The fixed tree that ends every sum in lanes. */

#include <stddef.h>

/* lane [n], n a power of two; destroyed. */
static inline float moe_tree_sum(float *lane, size_t n) {
    for (n /= 2; n >= 1; n /= 2)
        for (size_t l = 0; l < n; l++) lane[l] += lane[l + n];
    return lane[0];
}

#endif
