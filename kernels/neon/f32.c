#include "kernels/neon/vec.h"
#include "kernels/simd/f32.h"
