#include "kernels/neon/vec.h"
#include "kernels/simd/probe.h"
