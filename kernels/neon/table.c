#include "kernels/neon/vec.h"
#include "kernels/simd/table.h"
