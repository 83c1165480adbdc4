#include <string.h>

/* More at once, and compilers read the lines out of order: 40 % slower. */
enum { READ_VECS = 4 };

float MOE_NAME(probe_read)(const void *p, size_t bytes) {
    const unsigned char *b = p;
    vec sum[READ_VECS];
    for (size_t v = 0; v < READ_VECS; v++) sum[v] = v_set1(0);
    size_t i = 0;
    for (; i + sizeof sum <= bytes; i += sizeof sum) {
        MOE_UNROLL
        for (size_t v = 0; v < READ_VECS; v++) sum[v] = v_xor(sum[v], v_load(b + i + v * sizeof(vec)));
    }
    uint32_t folded[READ_VECS * VEC], total = 0;
    memcpy(folded, sum, sizeof folded);
    for (size_t w = 0; w < READ_VECS * VEC; w++) total ^= folded[w];
    for (; i < bytes; i++) total ^= (uint32_t)b[i] << (i % 4 * 8);
    return (float)(total >> 8);
}

float MOE_NAME(probe_fma)(size_t n) {
    volatile float half = 0.5f; /* unknown to the compiler, which would otherwise compute the answer itself */
    const vec h = v_set1(half);
    vec x[PROBE_CHAINS];
    for (size_t c = 0; c < PROBE_CHAINS; c++) x[c] = v_set1(1);
    for (size_t i = 0; i < n * (MOE_PROBE_FLOPS / 2 / VEC / PROBE_CHAINS); i++) {
        MOE_UNROLL
        for (size_t c = 0; c < PROBE_CHAINS; c++) x[c] = v_fma(x[c], h, h);
    }
    float sum = 0;
    for (size_t c = 0; c < PROBE_CHAINS; c++) sum += v_tree(x[c]);
    return sum / (PROBE_CHAINS * VEC);
}
