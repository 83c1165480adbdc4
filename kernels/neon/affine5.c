#include "kernels/neon/vec.h"
#define AFFINE 5
#include "kernels/simd/affine.h"
