#include "kernels/avx2/vec.h"
#define AFFINE 8
#include "kernels/simd/affine.h"
