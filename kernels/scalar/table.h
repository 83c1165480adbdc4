#ifndef MOE_KERNELS_SCALAR_TABLE_H
#define MOE_KERNELS_SCALAR_TABLE_H
/* Every scalar kernel by name; table.c puts them in their places. */

#include "kernels/kernels.h"

#define MOE_OP(op) moe_##op##_fn moe_##op##_scalar;
#include "kernels/ops.def"
#undef MOE_OP

moe_gemm_fn moe_gemm_scalar;
moe_widen_fn moe_widen_scalar;
moe_pack_fn moe_pack_natural_scalar, moe_pack_even_odd_scalar, moe_pack_quads_scalar, moe_pack_pairs_scalar;

/* x, a row of layout PAIRS, by row r of w. */
float moe_dot_pairs_scalar(const float *x, const struct moe_matrix *w, size_t r);

#endif
