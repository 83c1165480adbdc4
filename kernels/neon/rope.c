#include "kernels/neon/vec.h"
#include "kernels/simd/rope.h"
