#include "kernels/neon/vec.h"
#include "kernels/simd/pack.h"
