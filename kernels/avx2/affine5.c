#include "kernels/avx2/vec.h"
#define AFFINE 5
#include "kernels/simd/affine.h"
