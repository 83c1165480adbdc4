#include "kernels/avx512/vec.h"
#include "kernels/simd/router.h"
