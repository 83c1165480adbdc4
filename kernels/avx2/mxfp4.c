#include "kernels/avx2/vec.h"
#include "kernels/simd/mxfp4.h"
