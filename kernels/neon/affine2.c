#include "kernels/neon/vec.h"
#define AFFINE 2
#include "kernels/simd/affine.h"
