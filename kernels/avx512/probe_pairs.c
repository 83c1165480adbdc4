#include "kernels/avx512/vec.h"
#include "kernels/simd/fma_pairs.h"
#include "kernels/simd/probe_pairs.h"
