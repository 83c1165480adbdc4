#include "models/storage.h"

#include <stdio.h>
#include <string.h>

#include "base/convert.h"
#include "base/packed.h"
#include "models/packed_tensor.h"

enum { MAX_NAME = 320, FP8_BLOCK = 128, MXFP4_GROUP = 32 };

static const char weight_suffix[] = ".weight";

/* What is being looked for, and what its messages need. */
struct request {
    struct moe_storage *st;
    const char *name;
    size_t n_stacked, rows, cols;
    moe_error *err;
};

static bool is_weight(const char *name) {
    size_t n = strlen(name), n_suffix = sizeof weight_suffix - 1;
    return n >= n_suffix && !strcmp(name + n - n_suffix, weight_suffix);
}

static void write_partner(char out[MAX_NAME], const char *name, const char *suffix) {
    snprintf(out, MAX_NAME, "%s%s", name, suffix);
}

/* The name without ".weight", which it ends in, with `suffix` instead. */
static void write_sibling(char out[MAX_NAME], const char *name, const char *suffix) {
    int n = (int)(strlen(name) - (sizeof weight_suffix - 1));
    snprintf(out, MAX_NAME, "%.*s%s", n, name, suffix);
}

static bool has(const struct moe_storage *st, enum moe_dtype *dtype, const char *name) {
    return st->source->has(st->source->context, dtype, name);
}

static bool has_partner(const struct moe_storage *st, const char *name, const char *suffix) {
    char partner[MAX_NAME];
    write_partner(partner, name, suffix);
    return has(st, NULL, partner);
}

/* One tensor of a pair is enough to know the form: asking for the other then says that it is missing. */
enum moe_storage_form moe_storage_find(const struct moe_storage *st, const char *name) {
    enum moe_dtype dtype = MOE_DTYPE_COUNT;
    bool found = has(st, &dtype, name);
    if (is_weight(name)) {
        char scales[MAX_NAME];
        write_sibling(scales, name, ".scales");
        if (dtype == MOE_DTYPE_U32 || has(st, NULL, scales)) return MOE_STORAGE_MLX;
    } else if (has_partner(st, name, "_blocks") || has_partner(st, name, "_scales")) {
        return MOE_STORAGE_MXFP4;
    }
    if (dtype == MOE_DTYPE_F8_E4M3 || has_partner(st, name, "_scale_inv")) return MOE_STORAGE_FP8;
    if (found) return MOE_STORAGE_PLAIN;
    bool packed = has_partner(st, name, MOE_PACKED_SUFFIX) || has_partner(st, name, MOE_ESCAPES_SUFFIX);
    return packed ? MOE_STORAGE_PACKED : MOE_STORAGE_NONE;
}

bool moe_storage_has(const struct moe_storage *st, const char *name) {
    return moe_storage_find(st, name) != MOE_STORAGE_NONE;
}

/* The tensor `name` of the shape [n_stacked,] tail [n_tail]. */
static moe_status get(struct request *r, struct moe_source_tensor *out, const char *name, const size_t *tail,
                      size_t n_tail, uint32_t dtypes) {
    size_t shape[4] = {r->n_stacked}, n = r->n_stacked > 0;
    for (size_t i = 0; i < n_tail; i++) shape[n++] = tail[i];
    const struct moe_source *source = r->st->source;
    return source->get(source->context, out, name, shape, n, dtypes, r->err);
}

static enum moe_format format_of(enum moe_dtype dtype) {
    return dtype == MOE_DTYPE_F32    ? MOE_FORMAT_F32
           : dtype == MOE_DTYPE_BF16 ? MOE_FORMAT_BF16
                                     : MOE_FORMAT_F16; /* get() let nothing else through */
}

static moe_status get_plain(struct request *r, struct moe_matrix *out) {
    struct moe_source_tensor t;
    MOE_TRY(get(r, &t, r->name, (size_t[]){r->rows, r->cols}, 2, MOE_DTYPES_FLOAT));
    out->format = format_of(t.dtype);
    out->data = t.data;
    return MOE_OK;
}

/* Adds what config.json says to a message about a tensor that does not agree with it. */
static moe_status explain(struct request *r, const struct moe_module_quantization *m, moe_status status) {
    const struct moe_quantization *q = r->st->quantization;
    if (status == MOE_OK || !r->err) return status;
    return MOE_FAIL(r->err, status, "%s (%s: %s: %s in groups of %zu)", r->err->message, q->file, q->key,
                    moe_format_name(m->format), m->group_size);
}

static moe_status fail_groups(struct request *r, size_t group_size, const char *name) {
    const struct moe_quantization *q = r->st->quantization;
    return MOE_FAIL(r->err, MOE_E_FORMAT, "%s: %s: groups of %zu do not divide the %zu columns of tensor %s",
                    q->file, q->key, group_size, r->cols, name);
}

static moe_status get_mlx_tensors(struct request *r, struct moe_matrix *out,
                                  const struct moe_module_quantization *m) {
    char scales[MAX_NAME], biases[MAX_NAME];
    struct moe_source_tensor w, scale, bias;
    bool affine = m->format != MOE_FORMAT_MXFP4;
    write_sibling(scales, r->name, ".scales");
    write_sibling(biases, r->name, ".biases");
    const size_t packed[] = {r->rows, r->cols / 32 * moe_format_bits(m->format)};
    const size_t groups[] = {r->rows, r->cols / m->group_size};
    MOE_TRY(get(r, &w, r->name, packed, 2, MOE_DTYPE_BIT(U32)));
    MOE_TRY(get(r, &scale, scales, groups, 2, affine ? MOE_DTYPES_FLOAT : MOE_DTYPE_BIT(U8)));
    out->data = w.data;
    out->scales.scale = scale.data;
    out->scales.row_bytes = groups[1];
    if (!affine) return MOE_OK;
    MOE_TRY(get(r, &bias, biases, groups, 2, (uint32_t)1 << scale.dtype));
    out->scales.bias = bias.data;
    out->scales.number = format_of(scale.dtype);
    out->scales.row_bytes = moe_format_row_bytes(out->scales.number, groups[1]);
    return MOE_OK;
}

static moe_status get_mlx(struct request *r, struct moe_matrix *out) {
    const struct moe_quantization *q = r->st->quantization;
    char module[MAX_NAME];
    write_sibling(module, r->name, "");
    if (!q->mlx)
        return MOE_FAIL(r->err, MOE_E_FORMAT, "%s: %s: expected group_size and bits, because of tensor %s",
                        q->file, q->key, r->name);
    const struct moe_module_quantization *m = moe_quantization_module(q, module);
    if (!m->quantised)
        return MOE_FAIL(r->err, MOE_E_FORMAT, "%s: %s.%s: false, but tensor %s is quantised", q->file, q->key,
                        module, r->name);
    if (r->cols % m->group_size) return fail_groups(r, m->group_size, r->name);
    out->format = m->format;
    out->scales.rows = 1;
    out->scales.columns = m->group_size;
    return explain(r, m, get_mlx_tensors(r, out, m));
}

static size_t blocks_of(size_t n) {
    return (n + FP8_BLOCK - 1) / FP8_BLOCK;
}

static moe_status get_fp8(struct request *r, struct moe_matrix *out) {
    char scales[MAX_NAME];
    struct moe_source_tensor w, scale;
    write_partner(scales, r->name, "_scale_inv");
    const size_t grid[] = {blocks_of(r->rows), blocks_of(r->cols)};
    MOE_TRY(get(r, &w, r->name, (size_t[]){r->rows, r->cols}, 2, MOE_DTYPE_BIT(F8_E4M3)));
    MOE_TRY(get(r, &scale, scales, grid, 2, MOE_DTYPES_FLOAT));
    enum moe_format number = format_of(scale.dtype);
    out->format = MOE_FORMAT_FP8;
    out->data = w.data;
    out->scales = (struct moe_scales){.scale = scale.data,
                                      .number = number,
                                      .row_bytes = moe_format_row_bytes(number, grid[1]),
                                      .columns = FP8_BLOCK,
                                      .rows = FP8_BLOCK};
    return MOE_OK;
}

static moe_status get_mxfp4(struct request *r, struct moe_matrix *out) {
    char blocks[MAX_NAME], scales[MAX_NAME];
    struct moe_source_tensor w, scale;
    write_partner(blocks, r->name, "_blocks");
    write_partner(scales, r->name, "_scales");
    if (r->cols % MXFP4_GROUP) return fail_groups(r, MXFP4_GROUP, blocks);
    const size_t shape[] = {r->rows, r->cols / MXFP4_GROUP, MXFP4_GROUP / 2};
    MOE_TRY(get(r, &w, blocks, shape, 3, MOE_DTYPE_BIT(U8)));
    MOE_TRY(get(r, &scale, scales, shape, 2, MOE_DTYPE_BIT(U8)));
    out->format = MOE_FORMAT_MXFP4;
    out->data = w.data;
    out->scales =
        (struct moe_scales){.scale = scale.data, .row_bytes = shape[1], .columns = MXFP4_GROUP, .rows = 1};
    return MOE_OK;
}

/* Points out->escapes into the tensor `t`, of which nothing is believed yet: n matrices, out the first. */
static moe_status read_escapes(struct request *r, struct moe_matrix *out, const struct moe_source_tensor *t,
                               const char *name, size_t n) {
    struct moe_escapes_layout at;
    struct moe_matrix all = *out;
    const unsigned char *bytes = t->data;
    all.rows = n * r->rows; /* no more than NAME_packed has */
    bool fits = moe_escapes_lay_out(&at, n, all.rows, 0) && t->n_bytes >= at.block;
    size_t n_escapes = fits ? moe_packed_number(bytes + at.first, all.rows) : 0;
    if (!fits || !moe_escapes_lay_out(&at, n, all.rows, n_escapes) || at.n_bytes != t->n_bytes)
        return MOE_FAIL(r->err, MOE_E_FORMAT, "%s: tensor %s: %zu bytes, expected %zu for %zu escapes",
                        t->file, name, t->n_bytes, at.n_bytes, n_escapes);
    all.escapes = (struct moe_escapes){bytes, bytes + at.first, bytes + at.block, bytes + at.high};
    if (!moe_packed_check(&all, n_escapes))
        return MOE_FAIL(r->err, MOE_E_FORMAT, "%s: tensor %s: escapes that are out of order or of its rows",
                        t->file, name);
    out->escapes = all.escapes;
    return MOE_OK;
}

static moe_status get_packed(struct request *r, struct moe_matrix *out) {
    char packed[MAX_NAME], escapes[MAX_NAME];
    struct moe_source_tensor w, apart;
    const struct moe_source *source = r->st->source;
    const size_t any = MOE_ANY_SIZE, shape[] = {r->rows, moe_packed_blocks(r->cols), MOE_PACKED_BYTES};
    write_partner(packed, r->name, MOE_PACKED_SUFFIX);
    write_partner(escapes, r->name, MOE_ESCAPES_SUFFIX);
    MOE_TRY(get(r, &w, packed, shape, 3, MOE_DTYPE_BIT(U8)));
    MOE_TRY(source->get(source->context, &apart, escapes, &any, 1, MOE_DTYPE_BIT(U8), r->err));
    out->format = MOE_FORMAT_PACKED;
    out->data = w.data;
    return read_escapes(r, out, &apart, escapes, r->n_stacked ? r->n_stacked : 1);
}

static moe_status get_first(struct request *r, struct moe_matrix *out) {
    switch (moe_storage_find(r->st, r->name)) {
    case MOE_STORAGE_MLX:
        return get_mlx(r, out);
    case MOE_STORAGE_FP8:
        return get_fp8(r, out);
    case MOE_STORAGE_MXFP4:
        return get_mxfp4(r, out);
    case MOE_STORAGE_PACKED:
        return get_packed(r, out);
    case MOE_STORAGE_NONE: /* says that it is missing */
    case MOE_STORAGE_PLAIN:
        break;
    }
    return get_plain(r, out);
}

/* out [n] from out[0]: the matrices of a stack follow each other, and so do their scales, and the tables and
 * rows of escapes. */
static void spread(struct moe_matrix *out, size_t n) {
    const struct moe_scales *s = &out->scales;
    size_t step = out->rows * out->row_bytes, scale_step = 0;
    if (moe_format_is_quantised(out->format)) scale_step = (out->rows + s->rows - 1) / s->rows * s->row_bytes;
    for (size_t i = 1; i < n; i++) {
        out[i] = out[i - 1];
        out[i].data = (const char *)out[i].data + step;
        if (s->scale) out[i].scales.scale = (const char *)out[i].scales.scale + scale_step;
        if (s->bias) out[i].scales.bias = (const char *)out[i].scales.bias + scale_step;
        if (out->format == MOE_FORMAT_PACKED) {
            out[i].escapes.table = (const char *)out[i].escapes.table + MOE_PACKED_TABLE;
            out[i].escapes.first = (const char *)out[i].escapes.first + out->rows * sizeof(uint32_t);
        }
    }
}

moe_status moe_storage_get(struct moe_matrix *out, struct moe_storage *st, const char *name, size_t n_stacked,
                           size_t rows, size_t cols, moe_error *err) {
    struct request r = {st, name, n_stacked, rows, cols, err};
    size_t n = n_stacked ? n_stacked : 1;
    *out = (struct moe_matrix){.rows = rows, .cols = cols};
    MOE_TRY(get_first(&r, out));
    out->row_bytes = moe_format_row_bytes(out->format, cols);
    spread(out, n);
    st->totals.n_parameters += (uint64_t)n * rows * cols;
    for (size_t i = 0; i < n; i++) st->totals.n_bytes += moe_matrix_bytes(&out[i]);
    st->layouts[moe_format_layout(out->format)] = true;
    return MOE_OK;
}

moe_status moe_storage_get_row(struct moe_matrix *out, struct moe_storage *st, const char *name,
                               const size_t *shape, size_t rank, moe_error *err) {
    struct moe_source_tensor t;
    size_t n = 1;
    MOE_TRY(st->source->get(st->source->context, &t, name, shape, rank, MOE_DTYPES_FLOAT, err));
    for (size_t i = 0; i < rank; i++) n *= shape[i];
    *out = (struct moe_matrix){.format = format_of(t.dtype), .rows = 1, .cols = n, .data = t.data};
    out->row_bytes = moe_format_row_bytes(out->format, n);
    st->totals.n_parameters += n;
    st->totals.n_bytes += out->row_bytes;
    return MOE_OK;
}

moe_status moe_storage_get_array(float *out, struct moe_storage *st, const char *name, const size_t *shape,
                                 size_t rank, moe_error *err) {
    struct moe_matrix row;
    MOE_TRY(moe_storage_get_row(&row, st, name, shape, rank, err));
    moe_convert_to_f32(out, row.format, row.data, row.cols);
    return MOE_OK;
}

moe_status moe_storage_get_vector(float *out, struct moe_storage *st, const char *name, size_t n,
                                  moe_error *err) {
    return moe_storage_get_array(out, st, name, &n, 1, err);
}
