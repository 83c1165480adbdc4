#ifndef MOE_KERNELS_SIMD_SUBNORMALS_H
#define MOE_KERNELS_SIMD_SUBNORMALS_H
/* Between flush_begin and flush_end a subnormal operand is a zero, and so is a subnormal result: of functions
 * that are called between them, for the compiler knows nothing of this and may move operations of the same
 * function out. */

#if defined(__x86_64__)
#include <xmmintrin.h>

typedef unsigned flush_state;

static inline flush_state flush_begin(void) {
    const unsigned flush = 1U << 15, zeros = 1U << 6, before = _mm_getcsr();
    _mm_setcsr(before | flush | zeros);
    return before;
}

static inline void flush_end(flush_state before) {
    _mm_setcsr(before);
}

#elif defined(__aarch64__)
#include <stdint.h>

typedef uint64_t flush_state;

static inline flush_state flush_begin(void) {
    flush_state before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1U << 24) : "memory");
    return before;
}

static inline void flush_end(flush_state before) {
    __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory");
}

#endif
#endif
