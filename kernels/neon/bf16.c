#include "kernels/neon/vec.h"
#include "kernels/simd/bf16.h"
