#include "kernels/avx512_bf16/vec.h"
#include "kernels/simd/probe_pairs.h"
