#include "kernels/neon/vec.h"
#include "kernels/simd/router.h"
