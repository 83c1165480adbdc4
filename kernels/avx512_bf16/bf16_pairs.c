#include "kernels/avx512_bf16/vec.h"
#include "kernels/simd/bf16_pairs.h"
