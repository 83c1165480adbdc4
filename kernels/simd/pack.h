/* pack_even_odd; natural order is a copy. */
#include <string.h>

MOE_INLINE void pack_block(float *y, const float *x) {
    MOE_UNROLL
    for (size_t v = 0; v < MOE_LANES / 2; v += VEC) {
        vec even, odd;
        v_unzip(v_load(x + 2 * v), v_load(x + 2 * v + VEC), &even, &odd);
        v_store(y + v, even);
        v_store(y + MOE_LANES / 2 + v, odd);
    }
}

void MOE_NAME(pack_even_odd)(float *y, const float *x, size_t k) {
    size_t i = 0;
    for (; i + MOE_LANES <= k; i += MOE_LANES) pack_block(y + i, x + i);
    if (i == k) return;
    float last[MOE_LANES] = {0};
    memcpy(last, x + i, (k - i) * sizeof *last);
    pack_block(y + i, last);
}
