#include "kernels/avx512/vec.h"
#include "kernels/simd/bf16.h"
