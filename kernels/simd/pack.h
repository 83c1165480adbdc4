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

/* The vectors of a block of QUADS that the elements [4 * v, 4 * (v + VEC)) go to. */
MOE_INLINE void pack_quads(float *y, const float *x, size_t v) {
    vec even[2], odd[2], part[4];
    MOE_UNROLL
    for (size_t i = 0; i < 2; i++) {
        const float *at = x + 4 * v + 2 * i * VEC;
        v_unzip(v_load(at), v_load(at + VEC), &even[i], &odd[i]);
    }
    v_unzip(even[0], even[1], &part[0], &part[2]);
    v_unzip(odd[0], odd[1], &part[1], &part[3]);
    MOE_UNROLL
    for (size_t i = 0; i < 4; i++) v_store(y + i * (MOE_QUADS_BLOCK / 4) + v, part[i]);
}

void MOE_NAME(pack_quads)(float *y, const float *x, size_t k) {
    size_t i = 0;
    for (; i + MOE_QUADS_BLOCK <= k; i += MOE_QUADS_BLOCK) {
        MOE_UNROLL
        for (size_t v = 0; v < MOE_QUADS_BLOCK / 4; v += VEC) pack_quads(y + i, x + i, v);
    }
    if (i == k) return;
    float last[MOE_QUADS_BLOCK] = {0};
    memcpy(last, x + i, (k - i) * sizeof *last);
    for (size_t v = 0; v < MOE_QUADS_BLOCK / 4; v += VEC) pack_quads(y + i, last, v);
}
