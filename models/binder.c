#include "models/binder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "base/machine.h"
#include "base/packed.h"

/* One list, to be freed with the weights. */
struct owned {
    struct owned *next;
    max_align_t data[];
};

void moe_binder_name(char out[MOE_MAX_TENSOR_NAME], const struct moe_binder *b, enum moe_tensor_role role,
                     const char *suffix) {
    const char *p = moe_family_tensor(b->spec->family, role);
    size_t at = 0;
    while (*p && at + 24 < MOE_MAX_TENSOR_NAME) {
        if (!strncmp(p, "{L}", 3) || !strncmp(p, "{E}", 3)) {
            at += (size_t)snprintf(out + at, MOE_MAX_TENSOR_NAME - at, "%zu",
                                   p[1] == 'L' ? b->layer : b->expert);
            p += 3;
        } else {
            out[at++] = *p++;
        }
    }
    out[at] = '\0';
    char *weight = suffix ? strstr(out, ".weight") : NULL;
    if (weight) snprintf(weight, MOE_MAX_TENSOR_NAME - (size_t)(weight - out), "%s", suffix);
}

bool moe_binder_has(const struct moe_binder *b, enum moe_tensor_role role) {
    char name[MOE_MAX_TENSOR_NAME];
    moe_binder_name(name, b, role, NULL);
    return moe_storage_has(&b->storage, name);
}

static void count_tensor(struct moe_binder *b) {
    b->done++;
    if (b->progress && b->progress->call)
        b->progress->call(b->progress->context, "binding", b->done, b->total);
}

moe_status moe_binder_own(struct moe_binder *b, void **out, size_t n) {
    enum { LARGE = 1 << 20 }; /* less is not worth asking the system about */
    b->unasked += n;
    bool fits = b->unasked < LARGE || b->unasked <= moe_memory_available();
    if (b->unasked >= LARGE) b->unasked = 0;
    struct owned *o = fits ? malloc(sizeof *o + n) : NULL;
    *out = NULL;
    if (!o) return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    o->next = b->out->owned;
    b->out->owned = o;
    *out = o->data;
    return MOE_OK;
}

moe_status moe_bind_matrix(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role,
                           size_t rows, size_t cols) {
    return moe_bind_stack(b, out, role, 0, rows, cols);
}

moe_status moe_bind_stack(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role, size_t n,
                          size_t rows, size_t cols) {
    char name[MOE_MAX_TENSOR_NAME];
    moe_binder_name(name, b, role, NULL);
    MOE_TRY(moe_storage_get(out, &b->storage, name, n, rows, cols, b->err));
    if (b->list) {
        const struct moe_listed_matrix m = {name, n, rows, cols};
        MOE_TRY(b->list->call(b->list->context, &m, b->err));
    }
    count_tensor(b);
    return MOE_OK;
}

moe_status moe_bind_vector(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                           const char *suffix, size_t n) {
    return moe_bind_array(b, out, role, suffix, &n, 1);
}

moe_status moe_bind_array(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                          const char *suffix, const size_t *shape, size_t rank) {
    char name[MOE_MAX_TENSOR_NAME];
    void *data;
    size_t n = 1;
    for (size_t i = 0; i < rank; i++) n *= shape[i];
    moe_binder_name(name, b, role, suffix);
    MOE_TRY(moe_binder_own(b, &data, n * sizeof(float)));
    MOE_TRY(moe_storage_get_array(data, &b->storage, name, shape, rank, b->err));
    *out = data;
    count_tensor(b);
    return MOE_OK;
}

moe_status moe_bind_linear(struct moe_binder *b, struct moe_linear *out, enum moe_tensor_role role,
                           size_t rows, size_t cols, bool bias) {
    MOE_TRY(moe_bind_matrix(b, &out->w, role, rows, cols));
    return bias ? moe_bind_vector(b, &out->bias, role, ".bias", rows) : MOE_OK;
}

/* Rows that are turned together: what they write to one row of the other matrix fills cache lines. */
enum { STRIP_ROWS = 32 };

/* Elements of `size` bytes: the n rows of `strip`, the first of them row r, become columns of out. */
static void put_columns(unsigned char *out, const unsigned char *strip, size_t strip_bytes, size_t r,
                        size_t n, const struct moe_matrix *w, size_t size) {
    for (size_t c = 0; c < w->cols; c++)
        for (size_t i = 0; i < n; i++)
            memcpy(out + (c * w->rows + r + i) * size, strip + i * strip_bytes + c * size, size);
}

/* What a matrix is turned into: nothing is lost, and packed weights need not take four bytes for it. */
static enum moe_format transposed_format(enum moe_format format) {
    if (format == MOE_FORMAT_PACKED) return MOE_FORMAT_BF16;
    return moe_format_is_plain(format) ? format : MOE_FORMAT_F32;
}

/* Row r of w, which is not plain, in that format. */
static void unpack_row(void *out, const struct moe_matrix *w, size_t r) {
    if (w->format == MOE_FORMAT_PACKED)
        moe_packed_unpack(out, w, r, 0, w->cols);
    else
        moe_matrix_widen(out, w, r);
}

moe_status moe_bind_transposed(struct moe_binder *b, struct moe_matrix *out, const struct moe_matrix *w) {
    bool plain = moe_format_is_plain(w->format);
    enum moe_format format = transposed_format(w->format);
    size_t size = moe_format_bits(format) / 8;
    void *data;
    unsigned char *strip = NULL;
    *out = (struct moe_matrix){
        .format = format, .rows = w->cols, .cols = w->rows, .row_bytes = w->rows * size, .data = w->data};
    if (b->list) return MOE_OK;
    MOE_TRY(moe_binder_own(b, &data, w->rows * w->cols * size));
    if (!plain && !(strip = malloc(STRIP_ROWS * w->cols * size)))
        return MOE_FAIL(b->err, MOE_E_MEMORY, "out of memory");
    for (size_t r = 0; r < w->rows; r += STRIP_ROWS) {
        size_t n = w->rows - r < STRIP_ROWS ? w->rows - r : STRIP_ROWS;
        for (size_t i = 0; !plain && i < n; i++) unpack_row(strip + i * w->cols * size, w, r + i);
        if (plain)
            put_columns(data, moe_matrix_row(w, r), w->row_bytes, r, n, w, size);
        else
            put_columns(data, strip, w->cols * size, r, n, w, size);
    }
    free(strip);
    out->data = data;
    b->storage.layouts[moe_format_layout(format)] = true;
    return MOE_OK;
}

static void free_owned(struct moe_weights *weights) {
    for (struct owned *o = weights->owned, *next; o; o = next) {
        next = o->next;
        free(o);
    }
}

void moe_weights_free(struct moe_weights *weights) {
    free(weights->layers);
    free_owned(weights);
    *weights = (struct moe_weights){0};
}
