#include "kernels/avx2/vec.h"
#include "kernels/simd/fp8.h"
