#include "kernels/neon/vec.h"
#include "kernels/simd/fma_pairs.h"
#include "kernels/simd/packed_pairs.h"
