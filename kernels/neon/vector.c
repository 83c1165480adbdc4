#include "kernels/neon/vec.h"
#include "kernels/simd/vector.h"
