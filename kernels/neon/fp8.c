#include "kernels/neon/vec.h"
#include "kernels/simd/fp8.h"
