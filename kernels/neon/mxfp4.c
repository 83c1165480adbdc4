#include "kernels/neon/vec.h"
#include "kernels/simd/mxfp4.h"
