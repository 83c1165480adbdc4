/* pack_even_odd; natural order is a copy, which the scalar kernel leaves to the compiler. */
#include <string.h>

void MOE_NAME(pack_even_odd)(float *y, const float *x, size_t k) {
    for (size_t i = 0; i < k; i += MOE_LANES) {
        float room[MOE_LANES] = {0};
        const float *from = x + i;
        if (k - i < MOE_LANES) from = memcpy(room, from, (k - i) * sizeof *room);
        MOE_UNROLL
        for (size_t v = 0; v < MOE_LANES / 2; v += VEC) {
            vec even, odd;
            v_unzip(v_load(from + 2 * v), v_load(from + 2 * v + VEC), &even, &odd);
            v_store(y + i + v, even);
            v_store(y + i + MOE_LANES / 2 + v, odd);
        }
    }
}
