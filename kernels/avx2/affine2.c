#include "kernels/avx2/vec.h"
#define AFFINE 2
#include "kernels/simd/affine.h"
