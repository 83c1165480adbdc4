#include "kernels/neon/vec.h"
#include "kernels/simd/norm.h"
