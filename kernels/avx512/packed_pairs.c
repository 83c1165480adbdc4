#include "kernels/avx512/vec.h"
#include "kernels/simd/fma_pairs.h"
#include "kernels/simd/packed_pairs.h"
