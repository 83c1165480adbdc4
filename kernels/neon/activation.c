#include "kernels/neon/vec.h"
#include "kernels/simd/activation.h"
