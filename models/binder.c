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

/* The alternatives of a pattern, "{a,b}" with the first { left behind; NULL: it has none. */
static const char *find_alternatives(const char *pattern) {
    for (const char *p = strchr(pattern, '{'); p; p = strchr(p + 1, '{'))
        if (p[1] && p[2] != '}') return p + 1;
    return NULL;
}

/* Appends n bytes of text. */
static size_t append(char out[MOE_MAX_TENSOR_NAME], size_t at, const char *text, size_t n) {
    if (n > MOE_MAX_TENSOR_NAME - 1 - at) n = MOE_MAX_TENSOR_NAME - 1 - at;
    memcpy(out + at, text, n);
    out[at + n] = '\0';
    return at + n;
}

/* Appends a part of a pattern, with numbers for {L}, {S} and {E}. */
static size_t append_part(char out[MOE_MAX_TENSOR_NAME], size_t at, const struct moe_binder *b, const char *p,
                          const char *end) {
    char number[24];
    while (p < end) {
        const char *brace = memchr(p, '{', (size_t)(end - p));
        at = append(out, at, p, (size_t)((brace ? brace : end) - p));
        if (!brace) break;
        size_t n = brace[1] == 'L'   ? b->layer / b->spec->sublayers
                   : brace[1] == 'S' ? b->layer % b->spec->sublayers
                                     : b->expert;
        at = append(out, at, number, (size_t)snprintf(number, sizeof number, "%zu", n));
        p = brace + 3;
    }
    return at;
}

/* A pattern with its alternative number `which` (from 0); false: it has fewer. */
static bool fill_name(char out[MOE_MAX_TENSOR_NAME], const struct moe_binder *b, const char *pattern,
                      size_t which) {
    const char *group = find_alternatives(pattern), *end = pattern + strlen(pattern);
    size_t at = append(out, 0, b->spec->prefix, strlen(b->spec->prefix));
    if (!group) {
        append_part(out, at, b, pattern, end);
        return which == 0;
    }
    const char *close = strchr(group, '}'), *option = group;
    for (; which; which--) {
        option = memchr(option, ',', (size_t)(close - option));
        if (!option) return false;
        option++;
    }
    at = append_part(out, at, b, pattern, group - 1);
    at = append(out, at, option, strcspn(option, ",}"));
    append_part(out, at, b, close + 1, end);
    return true;
}

void moe_binder_name(char out[MOE_MAX_TENSOR_NAME], const struct moe_binder *b, enum moe_tensor_role role,
                     const char *suffix) {
    const char *pattern = moe_family_tensor(b->spec->family, role);
    bool found = false;
    for (size_t i = 0; !found && fill_name(out, b, pattern, i); i++)
        found = moe_storage_has(&b->storage, out);
    if (!found) fill_name(out, b, pattern, 0);
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
    b->out->n_owned += n;
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

moe_status moe_binder_fault(struct moe_binder *b, moe_status status) {
    bool is_of_tensor = status == MOE_E_FORMAT || status == MOE_E_UNSUPPORTED;
    if (!is_of_tensor || !b->list || !b->list->fault) return status;
    return b->list->fault(b->list->context, b->err);
}

/* A matrix that is not there: views of its rows may be taken, and are empty as well. */
static struct moe_matrix no_matrix(void) {
    static const char nothing[1] = {0};
    return (struct moe_matrix){.data = nothing};
}

moe_status moe_bind_matrix(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role,
                           size_t rows, size_t cols) {
    return moe_bind_stack(b, out, role, 0, rows, cols);
}

moe_status moe_bind_stack(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role, size_t n,
                          size_t rows, size_t cols) {
    char name[MOE_MAX_TENSOR_NAME];
    moe_binder_name(name, b, role, NULL);
    moe_status status = moe_storage_get(out, &b->storage, name, n, rows, cols, b->err);
    if (status != MOE_OK) {
        for (size_t i = 0; i < (n ? n : 1); i++) out[i] = no_matrix();
        return moe_binder_fault(b, status);
    }
    if (b->list) {
        const struct moe_listed_tensor t = {name, n, rows, cols, out};
        MOE_TRY(b->list->matrix(b->list->context, &t, b->err));
    }
    count_tensor(b);
    return MOE_OK;
}

moe_status moe_bind_vector(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                           const char *suffix, size_t n) {
    return moe_bind_array(b, out, role, suffix, &n, 1);
}

/* Hands over what would be widened. */
static moe_status list_array(struct moe_binder *b, const char *name, const size_t *shape, size_t rank) {
    struct moe_matrix row;
    moe_status status = moe_storage_get_row(&row, &b->storage, name, shape, rank, b->err);
    if (status != MOE_OK) return moe_binder_fault(b, status);
    b->out->n_owned += row.cols * sizeof(float);
    const struct moe_listed_tensor t = {name, 0, row.rows, row.cols, &row};
    return b->list->vector ? b->list->vector(b->list->context, &t, b->err) : MOE_OK;
}

static moe_status widen_array(struct moe_binder *b, const float **out, const char *name, const size_t *shape,
                              size_t rank) {
    void *data;
    size_t n = 1;
    for (size_t i = 0; i < rank; i++) n *= shape[i];
    MOE_TRY(moe_binder_own(b, &data, n * sizeof(float)));
    MOE_TRY(moe_storage_get_array(data, &b->storage, name, shape, rank, b->err));
    *out = data;
    return MOE_OK;
}

moe_status moe_bind_array(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                          const char *suffix, const size_t *shape, size_t rank) {
    char name[MOE_MAX_TENSOR_NAME];
    uint64_t before = b->storage.totals.n_bytes;
    moe_binder_name(name, b, role, suffix);
    *out = NULL;
    MOE_TRY(b->list ? list_array(b, name, shape, rank) : widen_array(b, out, name, shape, rank));
    b->out->n_replaced += b->storage.totals.n_bytes - before;
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
    size_t size = moe_format_bits(format) / 8, n_bytes = w->rows * w->cols * size;
    void *data;
    unsigned char *strip = NULL;
    *out = (struct moe_matrix){
        .format = format, .rows = w->cols, .cols = w->rows, .row_bytes = w->rows * size, .data = w->data};
    b->storage.layouts[moe_format_layout(format)] = true;
    b->out->n_replaced += w->rows * moe_format_row_bytes(w->format, w->cols);
    if (b->list) {
        b->out->n_owned += n_bytes;
        return MOE_OK;
    }
    MOE_TRY(moe_binder_own(b, &data, n_bytes));
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
