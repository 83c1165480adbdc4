#include "kernels/avx2/vec.h"
#define AFFINE 3
#include "kernels/simd/affine.h"
