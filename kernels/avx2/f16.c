#include "kernels/avx2/vec.h"
#include "kernels/simd/f16.h"
