#include "kernels/neon/vec.h"
#define AFFINE 6
#include "kernels/simd/affine.h"
