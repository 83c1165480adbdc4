#include "kernels/neon/vec.h"
#define AFFINE 4
#include "kernels/simd/affine.h"
