#include "kernels/neon/vec.h"
#include "kernels/simd/packed.h"
