#include "kernels/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

enum {
    LEAF1_ECX_FMA = 1 << 12,
    LEAF1_ECX_OSXSAVE = 1 << 27,
    LEAF1_ECX_F16C = 1 << 29,
    LEAF7_EBX_AVX2 = 1 << 5,
    LEAF7_1_EAX_AVX512_BF16 = 1 << 5,
    LEAF7_EBX_AVX512 = (1 << 16) | (1 << 17) | (1 << 30) /* F, DQ, BW; VL is the sign bit */
};
#define LEAF7_EBX_AVX512VL (1U << 31)

/* Register state that the operating system saves: 6 = SSE and AVX; 0xe0 = masks and both halves of zmm. */
static unsigned saved_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Two bfloat16 of a word: the even element and the odd one, as the upper halves of floats. */
#define PAIR(even, odd) ((even) >> 16 | ((odd)&0xffff0000U))

/* A lane of VDPBF16PS: bits of two weights, two activations and a sum, and what becomes of it. */
static const struct {
    unsigned w, x, sum, becomes;
} pairs[16] = {
    /* 1 + 2^-24 + 2^-24: each is a tie, and lost; added at once they are not */
    {PAIR(0x39800000U, 0x39800000U), PAIR(0x39800000U, 0x39800000U), 0x3f800000U, 0x3f800000U},
    /* 1.5 + 2^25 - 2^25, the odd one first: 0; the even one first: 2 */
    {PAIR(0xcc000000U, 0x4c000000U), PAIR(0x3f800000U, 0x3f800000U), 0x3fc00000U, 0},
    {PAIR(0x4c000000U, 0xcc000000U), PAIR(0x3f800000U, 0x3f800000U), 0x3fc00000U, 0x40000000U},
    /* subnormal: a sum, a weight (times 2^100), a result (2^-140) */
    {0, 0, 0x00400000U, 0},
    {PAIR(0x00400000U, 0), PAIR(0x71800000U, 0), 0, 0},
    {PAIR(0x1c800000U, 0), PAIR(0x1c800000U, 0), 0, 0},
    /* 3 * 5 + 2 * 7 + 1 */
    {PAIR(0x40000000U, 0x40400000U), PAIR(0x40e00000U, 0x40a00000U), 0x3f800000U, 0x41f00000U},
};

/* No standard says how this instruction rounds, as IEEE 754 does of the others, and makers may differ: where
 * it does not give the bits that are defined, it is not used. */
__attribute__((target("avx512f,avx512bf16"))) static bool rounds_as_defined(void) {
    unsigned w[16], x[16], sum[16], becomes[16];
    for (int i = 0; i < 16; i++) {
        w[i] = pairs[i].w;
        x[i] = pairs[i].x;
        sum[i] = pairs[i].sum;
        becomes[i] = pairs[i].becomes;
    }
    const __m512 got = _mm512_dpbf16_ps(_mm512_loadu_ps(sum), (__m512bh)_mm512_loadu_si512(w),
                                        (__m512bh)_mm512_loadu_si512(x));
    _mm512_storeu_ps(sum, got);
    return memcmp(sum, becomes, sizeof sum) == 0;
}

unsigned moe_cpu_features(void) {
    unsigned a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & LEAF1_ECX_OSXSAVE)) return 0;
    const unsigned state = saved_state();
    if ((state & 0x6) != 0x6) return 0;
    if (c & LEAF1_ECX_FMA) features |= MOE_CPU_FMA;
    if (c & LEAF1_ECX_F16C) features |= MOE_CPU_F16C;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return features;
    if (b & LEAF7_EBX_AVX2) features |= MOE_CPU_AVX2;
    if ((state & 0xe0) == 0xe0 && (b & LEAF7_EBX_AVX512) == LEAF7_EBX_AVX512 && (b & LEAF7_EBX_AVX512VL))
        features |= MOE_CPU_AVX512;
    if ((features & MOE_CPU_AVX512) && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
        (a & LEAF7_1_EAX_AVX512_BF16) && rounds_as_defined())
        features |= MOE_CPU_AVX512_BF16;
    return features;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>
#include <asm/hwcap.h>

unsigned moe_cpu_features(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMD ? MOE_CPU_NEON : 0;
}

#else

unsigned moe_cpu_features(void) {
    return 0;
}

#endif
