#include "models/synthetic_format.h"

#include <math.h>
#include <string.h>

#include "base/convert.h"
#include "models/packed_tensor.h"

static const float deviation = 0.02f; /* of a weight */
static const float fp8_scale =
    0x1p-12f; /* 0.02 is 82 of the 448 that e4m3 reaches, as where a block's largest is 448 */

static const struct moe_synthetic_format formats[] = {
    {"bf16", MOE_DTYPE_BF16, MOE_STORAGE_PLAIN, MOE_FORMAT_BF16},
    {"f16", MOE_DTYPE_F16, MOE_STORAGE_PLAIN, MOE_FORMAT_F16},
    {"f32", MOE_DTYPE_F32, MOE_STORAGE_PLAIN, MOE_FORMAT_F32},
    {"fp8", MOE_DTYPE_BF16, MOE_STORAGE_FP8, MOE_FORMAT_FP8},
    {"mxfp4", MOE_DTYPE_BF16, MOE_STORAGE_MXFP4, MOE_FORMAT_MXFP4},
    {"affine2", MOE_DTYPE_BF16, MOE_STORAGE_MLX, MOE_FORMAT_AFFINE2},
    {"affine3", MOE_DTYPE_BF16, MOE_STORAGE_MLX, MOE_FORMAT_AFFINE3},
    {"affine4", MOE_DTYPE_BF16, MOE_STORAGE_MLX, MOE_FORMAT_AFFINE4},
    {"affine5", MOE_DTYPE_BF16, MOE_STORAGE_MLX, MOE_FORMAT_AFFINE5},
    {"affine6", MOE_DTYPE_BF16, MOE_STORAGE_MLX, MOE_FORMAT_AFFINE6},
    {"affine8", MOE_DTYPE_BF16, MOE_STORAGE_MLX, MOE_FORMAT_AFFINE8},
};

const struct moe_synthetic_format *moe_synthetic_format_at(size_t i) {
    return i < sizeof formats / sizeof *formats ? &formats[i] : NULL;
}

const struct moe_synthetic_format *moe_synthetic_format_find(const char *name) {
    const struct moe_synthetic_format *f;
    for (size_t i = 0; (f = moe_synthetic_format_at(i)); i++)
        if (!strcmp(f->name, name)) return f;
    return NULL;
}

/* ---- which tensors there are --------------------------------------------------------------------------- */

static bool contains(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

static bool ends_in(const char *name, const char *suffix) {
    const size_t n = strlen(name), n_suffix = strlen(suffix);
    return n >= n_suffix && !strcmp(name + n - n_suffix, suffix);
}

/* Of attention or an FFN: of every family, and no router or gate of a shared expert. */
static bool is_linear(const char *name) {
    return contains(name, "_proj") || contains(name, ".experts.") || contains(name, "embed_q") ||
           contains(name, "unembed_out");
}

static bool is_quantised(const struct moe_synthetic_format *f, const char *name) {
    const bool ends_of_model = contains(name, "embed_tokens") || contains(name, "lm_head");
    if (f->form == MOE_STORAGE_MXFP4)
        return contains(name, "experts.gate_up_proj") || contains(name, "experts.down_proj");
    return f->form != MOE_STORAGE_PLAIN && (is_linear(name) || (f->form == MOE_STORAGE_MLX && ends_of_model));
}

bool moe_synthetic_format_has(const struct moe_synthetic_format *f, struct moe_synthetic_tensor *out,
                              const char *name) {
    /* the second of each: what a form calls it, of matrices that are quantised */
    static const struct {
        enum moe_storage_form form;
        const char *suffix;
        struct moe_synthetic_tensor tensor;
    } partners[] = {
        {MOE_STORAGE_MLX, ".scales", {MOE_DTYPE_BF16, MOE_DRAW_SCALES}},
        {MOE_STORAGE_MLX, ".biases", {MOE_DTYPE_BF16, MOE_DRAW_BIASES}},
        {MOE_STORAGE_FP8, "_scale_inv", {MOE_DTYPE_F32, MOE_DRAW_INVERSE_SCALES}},
        {MOE_STORAGE_MXFP4, "_blocks", {MOE_DTYPE_U8, MOE_DRAW_CODES}},
        {MOE_STORAGE_MXFP4, "_scales", {MOE_DTYPE_U8, MOE_DRAW_EXPONENTS}},
    };
    const bool quantised = is_quantised(f, name);
    if (contains(name, "switch_mlp")) return false;
    if (ends_in(name, MOE_PACKED_SUFFIX) || ends_in(name, MOE_ESCAPES_SUFFIX)) return false;
    if (contains(name, "experts.gate_up_proj") && f->form != MOE_STORAGE_MXFP4) return false;
    for (size_t i = 0; i < sizeof partners / sizeof *partners; i++) {
        if (!ends_in(name, partners[i].suffix)) continue;
        *out = partners[i].tensor;
        return quantised && partners[i].form == f->form;
    }
    *out = (struct moe_synthetic_tensor){f->plain, MOE_DRAW_WEIGHTS};
    if (quantised && f->form == MOE_STORAGE_MLX)
        *out = (struct moe_synthetic_tensor){MOE_DTYPE_U32, MOE_DRAW_CODES};
    if (quantised && f->form == MOE_STORAGE_FP8) out->dtype = MOE_DTYPE_F8_E4M3;
    return !(quantised && f->form == MOE_STORAGE_MXFP4);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea and Flood 2014) */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *state) {
    return ((double)(next(state) >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller 1958 */
float moe_draws_normal(struct moe_draws *d) {
    double r = sqrt(-2 * log(uniform(&d->state)));
    return (float)(r * cos(6.283185307179586 * uniform(&d->state)));
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* |x| in a small format, cut off. */
static unsigned shortened(float x, unsigned fraction_bits, unsigned exponent_bias) {
    const float least = ldexpf(1, 1 - (int)exponent_bias); /* of normal numbers */
    if (fabsf(x) < least) return (unsigned)ldexpf(fabsf(x) / least, (int)fraction_bits);
    return (bits_of(fabsf(x)) >> (23 - fraction_bits)) - ((127 - exponent_bias) << fraction_bits);
}

void moe_draws_open(struct moe_draws *d, uint64_t seed) {
    d->state = seed;
    for (size_t i = 0; i < MOE_SYNTHETIC_DRAWS; i++) {
        const float x = deviation * moe_draws_normal(d);
        const unsigned e4m3 = shortened(x / fp8_scale, 3, 7), sign = x < 0;
        d->f32[i] = x;
        d->bf16[i] = (uint16_t)(bits_of(x) >> 16);
        d->f16[i] = (uint16_t)(sign << 15 | shortened(x, 10, 15));
        d->e4m3[i] = (uint8_t)(sign << 7 | (e4m3 < 0x7e ? e4m3 : 0x7e)); /* 0x7f: NaN */
    }
}

/* Elements of `size` bytes, a constant where it is called: one draw of 64 bits picks four. */
static inline void pick(struct moe_draws *d, unsigned char *out, size_t n, const void *table, size_t size) {
    const unsigned char *from = table;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const uint64_t r = next(&d->state);
        for (size_t j = 0; j < 4; j++)
            memcpy(out + (i + j) * size, from + (r >> 16 * j & (MOE_SYNTHETIC_DRAWS - 1)) * size, size);
    }
    for (; i < n; i++)
        memcpy(out + i * size, from + (next(&d->state) & (MOE_SYNTHETIC_DRAWS - 1)) * size, size);
}

static void fill_weights(struct moe_draws *d, void *out, size_t n, enum moe_dtype dtype) {
    if (dtype == MOE_DTYPE_F32) pick(d, out, n, d->f32, sizeof *d->f32);
    if (dtype == MOE_DTYPE_BF16) pick(d, out, n, d->bf16, sizeof *d->bf16);
    if (dtype == MOE_DTYPE_F16) pick(d, out, n, d->f16, sizeof *d->f16);
    if (dtype == MOE_DTYPE_F8_E4M3) pick(d, out, n, d->e4m3, sizeof *d->e4m3);
}

static void fill_codes(struct moe_draws *d, unsigned char *out, size_t n_bytes) {
    size_t i = 0;
    for (; i < n_bytes; i += sizeof(uint64_t)) {
        const uint64_t r = next(&d->state);
        memcpy(out + i, &r, n_bytes - i < sizeof r ? n_bytes - i : sizeof r);
    }
}

/* BF16, of the i-th group; codes are uniform. Biases come from another tensor, and agree by the number. */
static uint16_t affine_scale(const struct moe_draws *d, size_t i, unsigned bits) {
    const float x = d->f32[i % MOE_SYNTHETIC_DRAWS], step = ldexpf(deviation * sqrtf(12), -(int)bits);
    return (uint16_t)(bits_of(copysignf(step * (0.75f + 10 * fabsf(x)), x)) >> 16);
}

static uint16_t affine_bias(const struct moe_draws *d, size_t i, unsigned bits) {
    const float middle = (float)((1U << bits) - 1) / 2;
    return (uint16_t)(bits_of(-middle * moe_float_of_bf16(affine_scale(d, i, bits))) >> 16);
}

static void fill_affine(const struct moe_draws *d, uint16_t *out, size_t n, enum moe_draw draw,
                        unsigned bits) {
    for (size_t i = 0; i < n; i++)
        out[i] = draw == MOE_DRAW_SCALES ? affine_scale(d, i, bits) : affine_bias(d, i, bits);
}

void moe_draws_fill(struct moe_draws *d, void *out, size_t n, struct moe_synthetic_tensor tensor,
                    const struct moe_synthetic_format *f) {
    float *inverse_scales = out;
    unsigned char *exponents = out;
    switch (tensor.draw) {
    case MOE_DRAW_WEIGHTS:
        fill_weights(d, out, n, tensor.dtype);
        break;
    case MOE_DRAW_CODES:
        fill_codes(d, out, n * moe_dtype_bits(tensor.dtype) / 8);
        break;
    case MOE_DRAW_SCALES:
    case MOE_DRAW_BIASES:
        fill_affine(d, out, n, tensor.draw, (unsigned)moe_format_bits(f->format));
        break;
    case MOE_DRAW_INVERSE_SCALES:
        for (size_t i = 0; i < n; i++) inverse_scales[i] = fp8_scale * (1 + d->f32[i % MOE_SYNTHETIC_DRAWS]);
        break;
    case MOE_DRAW_EXPONENTS: /* E2M1 codes have a deviation of 2.93, so that 2^-7.2 is wanted */
        for (size_t i = 0; i < n; i++) exponents[i] = (unsigned char)(127 - (i % 5 ? 7 : 8));
        break;
    }
}
