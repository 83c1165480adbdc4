#include "kernels/avx512/vec.h"
#define AFFINE 2
#include "kernels/simd/affine.h"
