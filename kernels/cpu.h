#ifndef MOE_KERNELS_CPU_H
#define MOE_KERNELS_CPU_H
/* What this CPU can do and the operating system saves: a set of MOE_CPU_*, as isa.def asks for them. */

enum moe_cpu {
    MOE_CPU_AVX2 = 1 << 0,
    MOE_CPU_FMA = 1 << 1,
    MOE_CPU_F16C = 1 << 2,
    MOE_CPU_AVX512 = 1 << 3, /* F, BW, VL and DQ, all four */
    MOE_CPU_NEON = 1 << 4,
    MOE_CPU_AVX512_BF16 = 1 << 5, /* and VDPBF16PS rounds as kernels.h says of products in pairs */
};

unsigned moe_cpu_features(void);

#endif
