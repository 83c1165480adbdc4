#include "kernels/avx512/vec.h"
#include "kernels/simd/f16.h"
