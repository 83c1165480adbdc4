/* Whether a packed file holds a checkpoint, bit for bit, and whether it is as it was written. Both read files
 * instead of mapping them: what the disk does not give is an error. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/packed.h"
#include "engine/pack_checkpoint.h"
#include "engine/pack_work.h"
#include "loader/file.h"
#include "models/packed_tensor.h"
#include "models/storage.h"

struct comparison {
    const struct moe_checkpoint *source, *packed;
    struct moe_pack_work *work;
    moe_pack_report *report;
    /* of the tensor under way */
    const struct moe_pack_matrix *matrix;
    const struct moe_tensor *data;
    struct moe_matrix *views; /* [n]: of NAME_escapes, read; data is read row by row */
    unsigned char *rows;      /* [n_workers, chunk_rows, row_bytes] */
    uint16_t *unpacked;       /* [n_workers, cols] */
    size_t chunk_rows;
};

static const char *file_of(const struct comparison *c, const struct moe_tensor *t) {
    return moe_checkpoint_file(c->packed, t);
}

/* ---- packed tensors ----------------------------------------------------------------------------------- */

static moe_status compare_rows(void *context, const struct moe_pack_rows *rows, moe_error *err) {
    struct comparison *c = context;
    struct moe_matrix w = moe_matrix_rows(&c->views[rows->i], rows->first, rows->w.rows);
    size_t bytes = w.rows * w.row_bytes, at = (rows->i * c->matrix->rows + rows->first) * w.row_bytes;
    unsigned char *data = c->rows + rows->rank * c->chunk_rows * w.row_bytes;
    uint16_t *unpacked = c->unpacked + rows->rank * w.cols;
    MOE_TRY(moe_checkpoint_read(c->packed, c->data, data, bytes, at, err));
    w.data = data;
    for (size_t r = 0; r < w.rows; r++) {
        moe_packed_unpack(unpacked, &w, r, 0, w.cols);
        if (memcmp(unpacked, moe_matrix_row(&rows->w, r), w.cols * sizeof *unpacked) == 0) continue;
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: row %zu is not the one of %s", file_of(c, c->data),
                        c->data->name, rows->i * c->matrix->rows + rows->first + r,
                        moe_checkpoint_file(c->source, c->matrix->tensor));
    }
    return MOE_OK;
}

static moe_status compare_matrices(struct comparison *c, moe_error *err) {
    const struct moe_pack_matrix *m = c->matrix;
    size_t n = c->work->options.n_threads, row_bytes = moe_format_row_bytes(MOE_FORMAT_PACKED, m->cols);
    c->chunk_rows = moe_pack_chunk_rows(m->cols);
    c->rows = calloc(n * c->chunk_rows, row_bytes);
    c->unpacked = calloc(n * m->cols, sizeof *c->unpacked);
    moe_status status = MOE_OK;
    if (!c->rows || !c->unpacked)
        status = MOE_FAIL(err, MOE_E_MEMORY, "tensor %s: out of memory", m->tensor->name);
    for (size_t i = 0; i < m->n && status == MOE_OK; i++) {
        const struct moe_pack_loop loop = {.source = c->source,
                                           .matrix = m,
                                           .i = i,
                                           .each = compare_rows,
                                           .context = c,
                                           .bytes_per_row = m->cols * sizeof(uint16_t)};
        status = moe_pack_loop_run(c->work, &loop, err);
    }
    free(c->unpacked);
    free(c->rows);
    return status;
}

/* One of the two tensors, as it was read, or mapped: packed rows are not looked at through it. */
struct pair {
    const struct moe_tensor *escapes;
    void *bytes;
    struct moe_source source;
};

static bool pair_has(void *context, enum moe_dtype *dtype, const char *name) {
    const struct pair *p = context;
    return p->source.has(p->source.context, dtype, name);
}

static moe_status pair_get(void *context, struct moe_source_tensor *out, const char *name,
                           const size_t *shape, size_t rank, uint32_t dtypes, moe_error *err) {
    const struct pair *p = context;
    MOE_TRY(p->source.get(p->source.context, out, name, shape, rank, dtypes, err));
    if (!strcmp(name, p->escapes->name)) out->data = p->bytes;
    return MOE_OK;
}

/* Everything that storage checks of a packed matrix is checked here by storage. */
static moe_status compare_packed(struct comparison *c, const struct moe_pack_matrix *m,
                                 const struct moe_tensor *data, const struct moe_tensor *escapes,
                                 moe_error *err) {
    static const struct moe_quantization none = {0};
    struct pair pair = {.escapes = escapes, .source = moe_source_checkpoint(c->packed)};
    const struct moe_source source = {.context = &pair, .has = pair_has, .get = pair_get};
    struct moe_storage storage = {.source = &source, .quantization = &none};
    c->matrix = m;
    c->data = data;
    c->views = calloc(m->n, sizeof *c->views);
    pair.bytes = malloc(escapes->n_bytes + 1);
    moe_status status = MOE_OK;
    if (!c->views || !pair.bytes)
        status = MOE_FAIL(err, MOE_E_MEMORY, "tensor %s: out of memory", escapes->name);
    if (status == MOE_OK)
        status = moe_checkpoint_read(c->packed, escapes, pair.bytes, escapes->n_bytes, 0, err);
    if (status == MOE_OK)
        status = moe_storage_get(c->views, &storage, m->tensor->name, m->is_stacked ? m->n : 0, m->rows,
                                 m->cols, err);
    if (status == MOE_OK) status = compare_matrices(c, err);
    for (size_t i = 0; i < m->n && status == MOE_OK; i++) {
        const struct moe_matrix *w = &c->views[i];
        c->report->n_escapes +=
            moe_packed_number(w->escapes.first, w->rows) - moe_packed_number(w->escapes.first, 0);
        c->report->n_blocks += w->rows * moe_packed_blocks(w->cols);
    }
    c->report->n_packed++;
    c->report->plain_bytes += m->tensor->n_bytes;
    c->report->packed_bytes += data->n_bytes + escapes->n_bytes;
    free(pair.bytes);
    free(c->views);
    c->matrix = NULL;
    c->views = NULL;
    return status;
}

/* ---- copied tensors ----------------------------------------------------------------------------------- */

static moe_status compare_bytes(struct comparison *c, const struct moe_tensor *a, const struct moe_tensor *b,
                                unsigned char *bytes, moe_error *err) {
    for (size_t at = 0, n; at < a->n_bytes; at += n) {
        n = a->n_bytes - at < MOE_PACK_CHUNK ? a->n_bytes - at : MOE_PACK_CHUNK;
        MOE_TRY(moe_checkpoint_read(c->source, a, bytes, n, at, err));
        MOE_TRY(moe_checkpoint_read(c->packed, b, bytes + MOE_PACK_CHUNK, n, at, err));
        if (memcmp(bytes, bytes + MOE_PACK_CHUNK, n) != 0)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: not the one of %s", file_of(c, b), b->name,
                            moe_checkpoint_file(c->source, a));
        MOE_TRY(moe_pack_work_advance(c->work, n, err));
    }
    return MOE_OK;
}

static moe_status compare_copied(struct comparison *c, const struct moe_tensor *a, const struct moe_tensor *b,
                                 moe_error *err) {
    if (a->dtype != b->dtype || a->rank != b->rank || memcmp(a->shape, b->shape, sizeof a->shape) != 0)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: dtype or shape is not that of %s", file_of(c, b),
                        b->name, moe_checkpoint_file(c->source, a));
    unsigned char *bytes = malloc(2 * (size_t)MOE_PACK_CHUNK);
    if (!bytes) return MOE_FAIL(err, MOE_E_MEMORY, "tensor %s: out of memory", a->name);
    moe_status status = compare_bytes(c, a, b, bytes, err);
    c->report->n_copied++;
    c->report->copied_bytes += a->n_bytes;
    free(bytes);
    return status;
}

/* ---- all ---------------------------------------------------------------------------------------------- */

static moe_status find_suffixed(const struct moe_tensor **out, const struct moe_checkpoint *ck,
                                const char *name, const char *suffix, moe_error *err) {
    char *full;
    MOE_TRY(moe_text_join(&full, name, suffix, "", err));
    *out = moe_checkpoint_find(ck, full);
    free(full);
    return MOE_OK;
}

static moe_status compare_tensor(struct comparison *c, const struct moe_tensor *t, moe_error *err) {
    const struct moe_tensor *same = moe_checkpoint_find(c->packed, t->name), *data, *escapes;
    if (same) return compare_copied(c, t, same, err);
    MOE_TRY(find_suffixed(&data, c->packed, t->name, MOE_PACKED_SUFFIX, err));
    MOE_TRY(find_suffixed(&escapes, c->packed, t->name, MOE_ESCAPES_SUFFIX, err));
    bool is_matrix = t->dtype == MOE_DTYPE_BF16 && (t->rank == 2 || t->rank == 3) && t->n_bytes > 0;
    if (!data || !escapes || !is_matrix)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: missing", moe_checkpoint_listing(c->packed),
                        t->name);
    const struct moe_pack_matrix m = moe_pack_matrix_of(t);
    return compare_packed(c, &m, data, escapes, err);
}

moe_status moe_pack_compare_checkpoints(const struct moe_checkpoint *source,
                                        const struct moe_checkpoint *packed, struct moe_pack_work *work,
                                        moe_pack_report *report, moe_error *err) {
    struct comparison c = {.source = source, .packed = packed, .work = work, .report = report};
    uint64_t total = 0;
    *report = (moe_pack_report){0};
    for (size_t i = 0; i < moe_checkpoint_count(source); i++)
        total += moe_checkpoint_tensor(source, i)->n_bytes;
    moe_pack_work_begin(work, "comparing", total);
    for (size_t i = 0; i < moe_checkpoint_count(source); i++)
        MOE_TRY(compare_tensor(&c, moe_checkpoint_tensor(source, i), err));
    size_t n = moe_checkpoint_count(packed), expected = 2 * report->n_packed + report->n_copied;
    if (n == expected) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %zu tensors, expected %zu", moe_checkpoint_listing(packed), n,
                    expected);
}

moe_status moe_pack_compare(moe_pack_report *report, const char *model, const char *packed,
                            const moe_pack_options *opt, moe_error *err) {
    struct moe_pack_work work;
    struct moe_checkpoint *a = NULL, *b = NULL;
    *report = (moe_pack_report){0};
    moe_status status = moe_pack_work_open(&work, opt, err);
    if (status == MOE_OK) status = moe_checkpoint_open(&a, model, err);
    if (status == MOE_OK) status = moe_checkpoint_open(&b, packed, err);
    if (status == MOE_OK) status = moe_pack_compare_checkpoints(a, b, &work, report, err);
    moe_checkpoint_close(b);
    moe_checkpoint_close(a);
    return status;
}

/* ---- checksums ---------------------------------------------------------------------------------------- */

static moe_status hash_tensor(uint64_t *out, const struct moe_safetensors *st, const struct moe_tensor *t,
                              struct moe_pack_work *work, moe_error *err) {
    struct moe_pack_hash hash;
    void *bytes = malloc(t->n_bytes < MOE_PACK_CHUNK ? t->n_bytes + 1 : MOE_PACK_CHUNK);
    if (!bytes) return MOE_FAIL(err, MOE_E_MEMORY, "tensor %s: out of memory", t->name);
    moe_status status = moe_pack_hash_begin(&hash, moe_dtype_name(t->dtype), t->shape, t->rank, err);
    for (size_t at = 0, n; at < t->n_bytes && status == MOE_OK; at += n) {
        n = t->n_bytes - at < MOE_PACK_CHUNK ? t->n_bytes - at : MOE_PACK_CHUNK;
        status = moe_safetensors_read(st, t, bytes, n, at, err);
        if (status != MOE_OK) break;
        moe_pack_hash_add(&hash, bytes, n);
        status = moe_pack_work_advance(work, n, err);
    }
    if (hash.state) *out = moe_pack_hash_end(&hash);
    free(bytes);
    return status;
}

static moe_status verify_tensor(const struct moe_safetensors *st, const struct moe_tensor *t,
                                struct moe_pack_work *work, moe_error *err) {
    uint64_t hash = 0;
    char *key, text[32];
    MOE_TRY(moe_text_join(&key, MOE_PACK_HASH_PREFIX, t->name, "", err));
    const char *expected = moe_safetensors_metadata(st, key);
    free(key);
    if (!expected)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: no checksum", moe_safetensors_file(st), t->name);
    MOE_TRY(hash_tensor(&hash, st, t, work, err));
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    if (!strcmp(text, expected)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %s: damaged: its checksum is %s, expected %.40s",
                    moe_safetensors_file(st), t->name, text, expected);
}

static moe_status verify_file(const struct moe_safetensors *st, struct moe_pack_work *work,
                              moe_pack_report *report, moe_error *err) {
    uint64_t total = 0;
    const char *version = moe_safetensors_metadata(st, MOE_PACK_VERSION_KEY);
    if (!version || strcmp(version, MOE_PACK_VERSION) != 0)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                        "%s: __metadata__: " MOE_PACK_VERSION_KEY " is %s%.40s, expected " MOE_PACK_VERSION
                        ": no file of moe-pack's",
                        moe_safetensors_file(st), version ? "" : "missing", version ? version : "");
    for (size_t i = 0; i < moe_safetensors_count(st); i++) total += moe_safetensors_tensor(st, i)->n_bytes;
    moe_pack_work_begin(work, "verifying", total);
    for (size_t i = 0; i < moe_safetensors_count(st); i++) {
        const struct moe_tensor *t = moe_safetensors_tensor(st, i);
        MOE_TRY(verify_tensor(st, t, work, err));
        bool is_packed = moe_pack_has_suffix(t->name, MOE_PACKED_SUFFIX);
        bool is_escapes = moe_pack_has_suffix(t->name, MOE_ESCAPES_SUFFIX);
        report->n_packed += is_packed;
        report->n_copied += !is_packed && !is_escapes;
        *(is_packed || is_escapes ? &report->packed_bytes : &report->copied_bytes) += t->n_bytes;
    }
    report->file_bytes = moe_safetensors_size(st);
    return MOE_OK;
}

moe_status moe_pack_file_of(char **out, const char *path, moe_error *err) {
    struct stat st;
    bool is_directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return moe_text_join(out, path, is_directory ? "/" MOE_PACK_FILE : "", "", err);
}

moe_status moe_pack_verify(moe_pack_report *report, const char *packed, const moe_pack_options *opt,
                           moe_error *err) {
    struct moe_pack_work work;
    struct moe_safetensors *st;
    char *file;
    *report = (moe_pack_report){0};
    MOE_TRY(moe_pack_work_open(&work, opt, err));
    MOE_TRY(moe_pack_file_of(&file, packed, err));
    moe_status status = moe_safetensors_open(&st, file, err);
    free(file);
    MOE_TRY(status);
    status = verify_file(st, &work, report, err);
    moe_safetensors_close(st);
    return status;
}
