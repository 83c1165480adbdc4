#include "kernels/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

enum {
    LEAF1_ECX_FMA = 1 << 12,
    LEAF1_ECX_OSXSAVE = 1 << 27,
    LEAF1_ECX_F16C = 1 << 29,
    LEAF7_EBX_AVX2 = 1 << 5,
    LEAF7_EBX_AVX512 = (1 << 16) | (1 << 17) | (1 << 30) /* F, DQ, BW; VL is the sign bit */
};
#define LEAF7_EBX_AVX512VL (1U << 31)

/* Register state that the operating system saves: 6 = SSE and AVX; 0xe0 = masks and both halves of zmm. */
static unsigned saved_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
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
