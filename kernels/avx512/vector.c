#include "kernels/avx512/vec.h"
#include "kernels/simd/vector.h"
