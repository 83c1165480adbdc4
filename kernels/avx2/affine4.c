#include "kernels/avx2/vec.h"
#define AFFINE 4
#include "kernels/simd/affine.h"
