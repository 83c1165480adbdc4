#ifndef MOE_KERNELS_KERNELS_H
#define MOE_KERNELS_KERNELS_H
/* Every operation of the engine, its contract, and the table that holds one function for each.
 *
 * kernels/scalar/ is complete and DEFINES THE BITS; the other instruction sets overlay it and give the same
 * bits, NaN payloads aside. So every operation is a fixed sequence of correctly rounded operations:
 * - "fma" is one fused multiply-add (fmaf); a * b + c written otherwise is two roundings. No contraction.
 * - A SUM IN LANES over n elements: lane l (of MOE_LANES = 32) starts at +0 and takes elements l, l + 32, ...
 * in ascending order; n is padded to a multiple of 32 with zero elements that are really added (so a -0 may
 * turn +0, everywhere alike). Then the fixed tree: t[l] = t[l] + t[l + 16] for l < 16; then + 8, + 4, + 2,
 * + 1.
 * - exp is moe_exp of kernels/scalar/exp.h: the same polynomial everywhere.
 *
 * All kernels: one thread, allocate nothing, cannot fail, read and write nothing outside what is stated.
 * Unless it says otherwise pointers need no alignment beyond that of float, sizes may be 0 or any value, and
 * outputs do not overlap inputs. NaN and Inf propagate as in the sequence of operations given. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/matrix.h"

/* The instruction sets of this build, by its target: kernels/CMakeLists.txt builds their folders. */
#if defined(__x86_64__)
#define MOE_HAVE_AVX2        1
#define MOE_HAVE_AVX512      1
#define MOE_HAVE_AVX512_BF16 1
#elif defined(__aarch64__)
#define MOE_HAVE_NEON 1
#endif

/* y[i] = gain[i] * (x[i] * r), r = 1 / sqrt(ss / n + eps), ss = sum in lanes of fma(x, x, .). HF's order of
 * multiplication (Qwen3MoeRMSNorm).   y, x, gain [n], y may be x itself; n > 0; eps in units of x^2 */
typedef void moe_rmsnorm_fn(float *y, const float *x, const float *gain, size_t n, float eps);

/* y[i] = (x[i] - mean) * r * gain[i] + bias[i], each operation rounded, in this order; without bias nothing
 * is added. mean = (sum in lanes of x, plain additions) / n; r = 1 / sqrt(ss / n + eps), ss = sum in lanes of
 * fma(d, d, .), d = x[i] - mean (a padding d is 0).   y, x, gain [n], bias [n] or NULL; y may be x itself;
 * n > 0; eps in units of x^2 */
typedef void moe_layernorm_fn(float *y, const float *x, const float *gain, const float *bias, size_t n,
                              float eps);

/* c[i] = cos(a) * att, s[i] = sin(a) * att, with a = (float)position * inv_freq[i] (one fp32 product). Sine
 * and cosine are computed in double by a fixed sequence and rounded to float, then multiplied in float. c, s,
 * inv_freq [n]; position < 2^32; scalar only: once per row and not per layer, so never worth an overlay. */
typedef void moe_rope_angles_fn(float *c, float *s, const float *inv_freq, size_t n, uint32_t position,
                                float att);

/* Rotates pairs (x[i], x[i + n]), i < n, in place: a' = fma(a, c[i], -(b * s[i])), b' = fma(b, c[i], a *
 * s[i]). x [2n]; c, s [n] */
typedef void moe_rope_half_fn(float *x, const float *c, const float *s, size_t n);

/* The same rotation of the pairs (x[2i], x[2i + 1]). */
typedef void moe_rope_interleaved_fn(float *x, const float *c, const float *s, size_t n);

/* x[i] = x[i] < -limit ? -limit : x[i] > limit ? limit : x[i] (NaN stays).   x [n], in place; limit >= 0 */
typedef void moe_clamp_fn(float *x, size_t n, float limit);

/* y[i] = y[i] + x[i].   y, x [n] */
typedef void moe_add_fn(float *y, const float *x, size_t n);

/* y[i] = x[i] * a.   y, x [n]; y may be x itself */
typedef void moe_scale_fn(float *y, const float *x, size_t n, float a);

/* y[i] = y[i] * x[i].   y, x [n] */
typedef void moe_mul_fn(float *y, const float *x, size_t n);

/* y[i] = fma(a, x[i], y[i]).   y, x [n] */
typedef void moe_axpy_fn(float *y, const float *x, size_t n, float a);

/* y[i] = (g / (1 + exp(-g))) * up[i], g = gate[i].   y, gate, up [n]; y may be gate or up */
typedef void moe_swiglu_fn(float *y, const float *gate, const float *up, size_t n);

/* y[i] = (u + 1) * (g * (1 / (1 + exp(-(alpha * g))))), g = gate[i] > limit ? limit : gate[i], u = up[i]
 * limited to -limit..limit as by clamp; NaN stays (GptOssExperts).   y, gate, up [n]; y may be gate or up;
 * limit >= 0 */
typedef void moe_swiglu_clamped_fn(float *y, const float *gate, const float *up, size_t n, float alpha,
                                   float limit);

/* y[i] = 1 / (1 + exp(-x[i])).   y, x [n]; y may be x */
typedef void moe_sigmoid_fn(float *y, const float *x, size_t n);

/* y[i] = ln(1 + e^x[i]), x[i] where that is above 20 (torch's softplus). In double by the system's exp and
 * log1p, rounded to float; scalar only, since most models have one such factor per head.   y, x [n]; y may be
 * x */
typedef void moe_softplus_fn(float *y, const float *x, size_t n);

/* y[i] = e[i] / z: m = the largest x (start with x[0]; x > m replaces it), e[i] = exp(x[i] - m), z = sum in
 * lanes of e[i] (plain additions). One NaN, or +inf, or nothing but -inf makes all NaN.   y, x [n]; y may be
 * x; n > 0 */
typedef void moe_softmax_fn(float *y, const float *x, size_t n);

/* Keys are cached and visited in blocks of this many positions, aligned to a multiple of it. */
enum { MOE_KEY_BLOCK = 64 };

/* One block of keys against n_q queries: a step of the online softmax (Milakov and Gimelshein 2018).
 * For each query i with a non-empty range [first[i], last[i]) of keys that it sees in this block, key j:
 *   s[j] = dot * scale, dot = fma chain over d ascending from +0: dot = fma(q[i][d], keys[d][j], dot)
 *   m'   = the largest of max[i] and the visible s[j] (start with max[i]; s[j] > m' replaces it)
 *   c    = exp(max[i] - m'); p[j] = exp(s[j] - m')
 *   sum[i] = fma(sum[i], c, t), t = the 64 p[j] (0 where not visible) by the tree + 32, + 16, ..., + 1
 *   out[i][d] = out[i][d] * c, then fma(p[j], values[j][d], .) for visible j ascending
 *   max[i] = m' + 0 (so that a zero is +0, whichever of the equal zeros came first)
 * A query with an empty range is left untouched; a query's bits depend on nothing of the others. Values
 * outside a query's range are not read for it (they may be NaN left by others); keys and scores there may be
 * read and may be anything. Without keys the dots are what the caller has put in `scores`, and the rest is
 * the same: for latent attention, whose values are a part of the keys' rows. Before the first block: max =
 * -inf, sum = 0, out = 0 (or an attention sink: max = sink, sum = 1). After the last the engine multiplies
 * out by 1 / sum. */
struct moe_attention_block {
    const float *q;      /* [n_q, key_dim] contiguous; not read without keys */
    size_t n_q;          /* > 0 */
    const float *keys;   /* [key_dim, MOE_KEY_BLOCK]: transposed, aligned to 64 bytes; or NULL */
    const float *values; /* [MOE_KEY_BLOCK, value_dim], aligned to 64 bytes if ld_values % 16 == 0 */
    size_t key_dim, value_dim;
    size_t ld_values; /* >= value_dim; what lies between rows is not read */
    float scale;
    const uint8_t *first, *last; /* [n_q], each 0..MOE_KEY_BLOCK */
    float *max, *sum;            /* [n_q] */
    float *out;                  /* [n_q, value_dim] contiguous */
    const float *ahead; /* [key_dim, MOE_KEY_BLOCK]: keys that are read next, to be asked for meanwhile; or
                           NULL. Never read here */
    float *scores; /* [n_q, MOE_KEY_BLOCK] aligned to 64 bytes: scratch, or without keys the dots; undefined
                      after */
};
typedef void moe_attention_block_fn(const struct moe_attention_block *a);

/* p = softmax over all experts, then the top k of it (Qwen3MoeTopKRouter). Chosen: top_k times the largest p
 * not chosen yet, the lowest index of equals (p > best replaces it; NaN is never larger, and the first not
 * chosen is the start, so ids are always valid and distinct). renorm: weights[j] = p / t, t = the chosen p
 * added in the order of choice from +0. ids, weights [top_k] in order of choice; logits [n]; scratch [n]; 0 <
 * top_k <= n */
typedef void moe_router_softmax_topk_fn(uint32_t *ids, float *weights, const float *logits, float *scratch,
                                        size_t n, size_t top_k, bool renorm);

/* Rows of packed activations: row i starts at data + (index ? index[i] : i) * ld. Each is in the layout of
 * the weights' format, padded with zeros to moe_layout_padded(layout, cols), and aligned to 64 bytes (ld % 16
 * == 0). `index` is how the rows routed to an expert are gathered without a copy. */
struct moe_rows {
    const float *data;
    size_t ld, n;
    const uint32_t *index; /* [n] or NULL */
};

/* y[i * ld_y + c] = dot(x row i, w row c) for i < x->n and first <= c < first + n_cols: rows of w are columns
 * of y. The dot product is a SUM IN LANES of fma(w, x, .) over the packed order of the format's layout: the
 * weights are taken in the same order (for EVEN_ODD: lane l < 16 of a block of 32 holds element 2l, lane 16 +
 * l holds 2l + 1; for QUADS: of a block of 64 lane l < 16 takes elements 4l, then 4l + 2, lane 16 + l takes
 * 4l + 1, then 4l + 3), the last block padded with weights +0, whatever its scale. Bits depend on format and
 * k alone, never on n_cols, x->n or tiling. Tiles of several rows and columns share the loads; a tile's bits
 * are those of the plain dot product. A weight w is, exactly as base/convert.h has it:
 * - F32, BF16, F16: what is stored.
 * - PACKED: the bfloat16 that was packed, so that a product has the bits that it has in BF16. Of the last
 * block of a row only the first moe_padded(cols) weights take part, and those past cols must be the +0 that
 * packing put there.
 * - FP8: e4m3(code) * scale, one product.
 * - MXFP4: value(code) * 2^(scale - 127), exact, also where it is subnormal (scale byte 0); infinite where it
 * is too large, so for byte 255 every value but 0 and 0.5; a code of zero is a zero of its sign.
 * - BF16_PAIRS, PACKED_PAIRS: as BF16, PACKED.
 * - AFFINE: scale * code, rounded, + bias, rounded, with scale and bias widened exactly.
 * NaN and Inf of scales come out as these operations give them.
 *
 * The formats in pairs multiply activations rounded to bfloat16, and are sums in 16 lanes: of a block of 32
 * lane l takes fma(w, x, .) of element 2l + 1, then of 2l; then the tree + 8, + 4, + 2, + 1. In all of it a
 * subnormal operand is a zero of its sign, and so is a subnormal result. That is what the instruction
 * VDPBF16PS does (Intel SDM, volume 2), so that a block is one of them. Where a result lies so near below the
 * smallest normal number that rounding decides, CPUs differ in what they call subnormal. */
typedef void moe_gemm_fn(float *y, size_t ld_y, const struct moe_rows *x, const struct moe_matrix *w,
                         size_t first, size_t n_cols);

/* y[j] = element j of row r of w, exactly, in natural order.   y [w->cols] */
typedef void moe_widen_fn(float *y, const struct moe_matrix *w, size_t r);

/* Lays out a row for a dot product: y [moe_layout_floats(layout, k)], 64-byte aligned; x [k]. Pads with +0.
 * PAIRS rounds to bfloat16 (moe_bf16_of_float). */
typedef void moe_pack_fn(float *y, const float *x, size_t k);

/* Reads every byte of p [bytes] once, as fast as it can, to measure how fast memory is read; p has any
 * alignment. The xor of all 32-bit little-endian words (the last one padded with zero bytes), without its low
 * 8 bits, as a number: it depends on every word, and on no order. */
typedef float moe_probe_read_fn(const void *p, size_t bytes);

/* The same number, read in other ways, for which is fastest depends on the machine: lines asked for a few
 * pages early, and four parts side by side. */
typedef moe_probe_read_fn moe_probe_read_ahead_fn, moe_probe_read_streams_fn;

/* n rounds of MOE_PROBE_FLOPS floating-point operations (half as many independent fused multiply-adds, on
 * registers alone), to measure how fast they can be. Returns 1: each chain stays at its fixed point. */
enum { MOE_PROBE_FLOPS = 768 };
typedef float moe_probe_fma_fn(size_t n);

/* The same of products in pairs, two multiply-adds of each lane. */
typedef moe_probe_fma_fn moe_probe_pairs_fn;

struct moe_kernels {
#define MOE_OP(op) moe_##op##_fn *op;
#include "kernels/ops.def"
#undef MOE_OP
    struct {
#define MOE_FORMAT_OP(op) moe_##op##_fn *op;
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
    } format[MOE_FORMAT_COUNT];
    struct {
#define MOE_LAYOUT_OP(op) moe_##op##_fn *op;
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
    } layout[MOE_LAYOUT_COUNT];
};

/* kernels/<isa>/table.c: what is absent stays with the next slower instruction set. */
#define MOE_ISA(id, name, needs) extern const struct moe_kernels moe_kernels_##id;
#include "kernels/isa.def"
#undef MOE_ISA

#endif
