#include "kernels/avx512/vec.h"
#define AFFINE 6
#include "kernels/simd/affine.h"
