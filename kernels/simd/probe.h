#include <string.h>

/* `streams` parts side by side, `vecs` vectors of each at a time; lines are asked for `ahead` bytes early. A
 * single stream reads four vectors at a time: with more, compilers read the lines out of order, 40 % slower.
 */
MOE_INLINE float read_all(const unsigned char *b, size_t bytes, size_t streams, size_t vecs, size_t ahead) {
    enum { LINE = 64, MOST_VECS = 16 };
    vec sum[MOST_VECS];
    const size_t step = vecs * sizeof(vec), part = bytes / streams / step * step;
    for (size_t v = 0; v < streams * vecs; v++) sum[v] = v_set1(0);
    for (size_t i = 0; i < part; i += step) {
        MOE_UNROLL
        for (size_t s = 0; s < streams; s++) {
            const unsigned char *from = b + s * part + i;
            MOE_UNROLL
            for (size_t v = 0; v < vecs; v++) {
                if (ahead && v * sizeof(vec) % LINE == 0) __builtin_prefetch(from + v * sizeof(vec) + ahead);
                sum[s * vecs + v] = v_xor(sum[s * vecs + v], v_load(from + v * sizeof(vec)));
            }
        }
    }
    uint32_t folded[MOST_VECS * VEC], total = 0;
    memcpy(folded, sum, streams * step);
    for (size_t w = 0; w < streams * vecs * VEC; w++) total ^= folded[w];
    for (size_t i = streams * part; i < bytes; i++) total ^= (uint32_t)b[i] << (i % 4 * 8);
    return (float)(total >> 8);
}

float MOE_NAME(probe_read)(const void *p, size_t bytes) {
    return read_all(p, bytes, 1, 4, 0);
}

float MOE_NAME(probe_read_ahead)(const void *p, size_t bytes) {
    return read_all(p, bytes, 1, 4, 2048);
}

float MOE_NAME(probe_read_streams)(const void *p, size_t bytes) {
    return read_all(p, bytes, 4, 16 / VEC, 0); /* a line of each */
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
