#include "kernels/neon/vec.h"
#include "kernels/simd/f16.h"
