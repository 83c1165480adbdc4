#include "kernels/avx2/vec.h"
#include "kernels/simd/fma_pairs.h"
#include "kernels/simd/probe_pairs.h"
