#include "kernels/avx512/vec.h"
#include "kernels/simd/f32.h"
