#include "kernels/avx512/vec.h"
#define AFFINE 8
#include "kernels/simd/affine.h"
