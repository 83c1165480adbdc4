#include "kernels/avx512/vec.h"
#define AFFINE 5
#include "kernels/simd/affine.h"
