/* Not what is measured (that is the fastest instruction set), but what the others' answers are tested with.
 */
#include <math.h>
#include <string.h>

#include "kernels/scalar/table.h"

float moe_probe_read_scalar(const void *p, size_t bytes) {
    const unsigned char *b = p;
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum ^= (uint32_t)b[i] << (i % 4 * 8);
    return (float)(sum >> 8);
}

float moe_probe_read_ahead_scalar(const void *p, size_t bytes) {
    return moe_probe_read_scalar(p, bytes);
}

float moe_probe_read_streams_scalar(const void *p, size_t bytes) {
    return moe_probe_read_scalar(p, bytes);
}

float moe_probe_pairs_scalar(size_t n) {
    return moe_probe_fma_scalar(n);
}

float moe_probe_fma_scalar(size_t n) {
    float x[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    volatile float half = 0.5f; /* unknown to the compiler, which would otherwise compute the answer itself */
    const float h = half;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < MOE_PROBE_FLOPS / 2; j++) x[j % 8] = fmaf(x[j % 8], h, h);
    return (x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7]) / 8;
}
