#include "kernels/avx512/vec.h"
#include "kernels/simd/fp8.h"
