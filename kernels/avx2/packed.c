#include "kernels/avx2/vec.h"
#include "kernels/simd/packed.h"
