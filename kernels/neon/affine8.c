#include "kernels/neon/vec.h"
#define AFFINE 8
#include "kernels/simd/affine.h"
