#include "kernels/avx512/vec.h"
#include "kernels/simd/mxfp4.h"
