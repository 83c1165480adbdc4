#include "kernels/avx2/vec.h"
#include "kernels/simd/f32.h"
