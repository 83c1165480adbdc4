#include "kernels/avx2/vec.h"
#include "kernels/simd/bf16.h"
