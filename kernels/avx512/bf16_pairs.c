#include "kernels/avx512/vec.h"
#include "kernels/simd/fma_pairs.h"
#include "kernels/simd/bf16_pairs.h"
