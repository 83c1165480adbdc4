#include "kernels/neon/vec.h"
#include "kernels/simd/fma_pairs.h"
#include "kernels/simd/probe_pairs.h"
