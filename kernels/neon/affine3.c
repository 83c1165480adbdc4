#include "kernels/neon/vec.h"
#define AFFINE 3
#include "kernels/simd/affine.h"
