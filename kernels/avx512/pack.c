#include "kernels/avx512/vec.h"
#include "kernels/simd/pack.h"
