#ifndef MOE_MODELS_SYNTHETIC_FORMAT_H
#define MOE_MODELS_SYNTHETIC_FORMAT_H
/* Which tensors a checkpoint of a storage format has (models/storage.h), and random numbers for each of them
 * such that weights are as large as those of a model: standard deviation 0.02. */

#include <stdint.h>

#include "models/storage.h"

/* What the numbers of a tensor are. */
enum moe_draw {
    MOE_DRAW_WEIGHTS,        /* F32, BF16, F16 or F8_E4M3: normal */
    MOE_DRAW_CODES,          /* U8, U32: every code as often */
    MOE_DRAW_SCALES,         /* BF16, of affine codes; half of them negative */
    MOE_DRAW_BIASES,         /* BF16: a group's weights are 0 in the mean */
    MOE_DRAW_INVERSE_SCALES, /* F32, of F8_E4M3 */
    MOE_DRAW_EXPONENTS       /* U8, of MXFP4 */
};

struct moe_synthetic_tensor {
    enum moe_dtype dtype;
    enum moe_draw draw;
};

struct moe_synthetic_format {
    const char *name;           /* "bf16", "affine4", ... */
    enum moe_dtype plain;       /* of matrices that are not quantised */
    enum moe_storage_form form; /* of those that are; PLAIN: none is */
    enum moe_format format;     /* MLX: of all of them, in groups of MOE_SYNTHETIC_GROUP */
};

enum { MOE_SYNTHETIC_GROUP = 64, MOE_SYNTHETIC_DRAWS = 1 << 16 };

/* The i-th format, BF16 first; NULL past the last. By name: NULL if there is none. */
const struct moe_synthetic_format *moe_synthetic_format_at(size_t i);
const struct moe_synthetic_format *moe_synthetic_format_find(const char *name);

/* Whether a checkpoint of the format has the matrix, or the partner of one, of that name. Everything that is
 * asked for is there, but for the names of what lies in another layout. Quantised are
 * FP8    attention and FFNs; not embedding, head and routers
 * MLX    the same, embedding and head
 * MXFP4  the experts alone, fused as gpt-oss has them */
bool moe_synthetic_format_has(const struct moe_synthetic_format *f, struct moe_synthetic_tensor *out,
                              const char *name);

/* What numbers are picked from. */
struct moe_draws {
    float f32[MOE_SYNTHETIC_DRAWS];     /* normal */
    uint16_t bf16[MOE_SYNTHETIC_DRAWS]; /* the same, cut off */
    uint16_t f16[MOE_SYNTHETIC_DRAWS];
    uint8_t e4m3[MOE_SYNTHETIC_DRAWS]; /* the same over their scale */
    uint64_t state;
};

void moe_draws_open(struct moe_draws *d, uint64_t seed);
/* Normal, standard deviation 1. */
float moe_draws_normal(struct moe_draws *d);
/* out [n] elements of the tensor's dtype. */
void moe_draws_fill(struct moe_draws *d, void *out, size_t n, struct moe_synthetic_tensor tensor,
                    const struct moe_synthetic_format *f);

#endif
