#include "kernels/neon/vec.h"
#include "kernels/simd/attention.h"
