/* The file, in this order: header; what is packed, whose sizes are known from the start; what that keeps
 * apart, whose sizes are found on the way; what is copied. So all that opening looks at, beside the header,
 * lies in one piece, and all that is packed at a cache line. A matrix is read three times, to choose its
 * table, to count its escapes, and to write: but for the first it is in the system's cache, if it fits. */
#include "engine/pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/packed.h"
#include "engine/pack_header.h"
#include "loader/staging.h"
#include "models/packed_tensor.h"

enum {
    FLUSH_BYTES = 32 << 20, /* written before the disk is waited for: the last flush is then short */
    LARGE = 64 << 20        /* escapes of one tensor: less is not worth asking the system about */
};

/* The work on one tensor: threads tally and count rows of one matrix, or pack them into `packed`. */
struct packing {
    const struct moe_pack_matrix *matrix;
    size_t row_bytes, chunk_rows; /* of packed rows */
    uint64_t (*tallies)[256];     /* [n_workers] */
    unsigned char *packed;        /* [MOE_PACK_BATCH * chunk_rows, row_bytes], or fewer */
    unsigned char *escapes;       /* the tensor NAME_escapes */
    struct moe_escapes_layout at; /* in it */
    struct writer *writer;
};

struct writer {
    int fd;
    const char *file;
    const struct moe_checkpoint *source;
    struct moe_pack_work *work;
    struct moe_pack_output *outputs; /* [n_outputs]: both tensors of each matrix, then the copied ones */
    size_t n_matrices, n_outputs;
    size_t data_offset, end, unflushed; /* end: of the data so far */
    struct moe_pack_output *open;       /* the tensor that is written, and its checksum so far */
    struct moe_pack_hash hash;
    size_t n_written; /* bytes of it */
};

/* ---- the file ----------------------------------------------------------------------------------------- */

/* Starts writing what is not written yet, and waits for what was started before. The file system may not know
 * this call; the flush at the end is what counts. */
static void flush_behind(struct writer *w, size_t n) {
    w->unflushed += n;
    if (w->unflushed < FLUSH_BYTES) return;
    sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
    w->unflushed = 0;
}

static moe_status begin_tensor(struct writer *w, struct moe_pack_output *o, moe_error *err) {
    w->open = o;
    w->n_written = 0;
    return moe_pack_hash_begin(&w->hash, moe_dtype_name(o->dtype), o->shape, o->rank, err);
}

static moe_status put(struct writer *w, const void *bytes, size_t n, moe_error *err) {
    moe_pack_hash_add(&w->hash, bytes, n);
    MOE_TRY(moe_file_write(w->fd, bytes, n, w->data_offset + w->open->begin + w->n_written, w->file, err));
    w->n_written += n;
    flush_behind(w, n);
    return MOE_OK;
}

static void end_tensor(struct writer *w) {
    w->open->hash = moe_pack_hash_end(&w->hash);
}

/* ---- packing one tensor ------------------------------------------------------------------------------- */

static uint32_t *first_of(const struct packing *p, size_t i) {
    return (uint32_t *)(void *)(p->escapes + p->at.first) + i * p->matrix->rows;
}

static unsigned char *table_of(const struct packing *p, size_t i) {
    return p->escapes + i * MOE_PACKED_TABLE;
}

static moe_status tally_rows(void *context, const struct moe_pack_rows *rows, moe_error *err) {
    struct packing *p = context;
    (void)err;
    moe_packed_tally(p->tallies[rows->rank], &rows->w, 0, rows->w.rows);
    return MOE_OK;
}

static moe_status count_rows(void *context, const struct moe_pack_rows *rows, moe_error *err) {
    struct packing *p = context;
    (void)err;
    moe_packed_count(first_of(p, rows->i) + 1 + rows->first, &rows->w, table_of(p, rows->i), 0, rows->w.rows);
    return MOE_OK;
}

static moe_status pack_rows(void *context, const struct moe_pack_rows *rows, moe_error *err) {
    struct packing *p = context;
    (void)err;
    const struct moe_packed_parts parts = {.data = p->packed + rows->chunk * p->chunk_rows * p->row_bytes,
                                           .table = table_of(p, rows->i),
                                           .first = first_of(p, rows->i) + rows->first,
                                           .block = (uint32_t *)(void *)(p->escapes + p->at.block),
                                           .high = p->escapes + p->at.high};
    moe_packed_write(&parts, &rows->w, 0, rows->w.rows);
    return MOE_OK;
}

static moe_status put_packed(void *context, size_t first, size_t n, moe_error *err) {
    struct packing *p = context;
    (void)first;
    return put(p->writer, p->packed, n * p->row_bytes, err);
}

static moe_status run(struct packing *p, size_t i, moe_pack_rows_fn *each,
                      moe_status (*after)(void *, size_t, size_t, moe_error *), moe_error *err) {
    const struct moe_pack_loop loop = {.source = p->writer->source,
                                       .matrix = p->matrix,
                                       .i = i,
                                       .each = each,
                                       .after = after,
                                       .context = p,
                                       .bytes_per_row = after ? p->matrix->cols * sizeof(uint16_t) : 0};
    return moe_pack_loop_run(p->writer->work, &loop, err);
}

static moe_status choose_table(struct packing *p, size_t i, moe_error *err) {
    size_t n_workers = p->writer->work->options.n_threads;
    memset(p->tallies, 0, n_workers * sizeof *p->tallies);
    MOE_TRY(run(p, i, tally_rows, NULL, err));
    for (size_t t = 1; t < n_workers; t++)
        for (size_t b = 0; b < 256; b++) p->tallies[0][b] += p->tallies[t][b];
    moe_packed_choose(table_of(p, i), p->tallies[0]);
    return MOE_OK;
}

static moe_status fail_memory(const struct packing *p, moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "%s: tensor %s: out of memory", p->writer->file,
                    p->matrix->tensor->name);
}

/* Tables and counts of all matrices; then there is room for their escapes. */
static moe_status measure(struct packing *p, size_t *n_escapes, moe_error *err) {
    const struct moe_pack_matrix *m = p->matrix;
    size_t n_rows = m->n * m->rows;
    if (!moe_escapes_lay_out(&p->at, m->n, n_rows, 0)) return fail_memory(p, err);
    if (!(p->escapes = calloc(1, p->at.n_bytes))) return fail_memory(p, err);
    for (size_t i = 0; i < m->n; i++) {
        MOE_TRY(choose_table(p, i, err));
        MOE_TRY(run(p, i, count_rows, NULL, err));
    }
    if (!moe_packed_sum(first_of(p, 0), n_rows))
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: tensor %s: too many escapes", p->writer->file,
                        m->tensor->name);
    *n_escapes = first_of(p, 0)[n_rows];
    size_t had = p->at.n_bytes;
    bool fits = moe_escapes_lay_out(&p->at, m->n, n_rows, *n_escapes);
    if (!fits || (p->at.n_bytes > LARGE && p->at.n_bytes > moe_memory_available()))
        return fail_memory(p, err);
    unsigned char *grown = realloc(p->escapes, p->at.n_bytes);
    if (!grown) return fail_memory(p, err);
    p->escapes = grown;
    memset(grown + had, 0, p->at.high > had ? p->at.high - had : 0); /* block, and the zeros after it */
    return MOE_OK;
}

static moe_status write_both(struct packing *p, struct moe_pack_output *data, size_t *n_escapes,
                             moe_error *err) {
    struct writer *w = p->writer;
    struct moe_pack_output *escapes = data + 1;
    MOE_TRY(measure(p, n_escapes, err));
    MOE_TRY(begin_tensor(w, data, err));
    for (size_t i = 0; i < p->matrix->n; i++) MOE_TRY(run(p, i, pack_rows, put_packed, err));
    end_tensor(w);
    escapes->shape[0] = escapes->n_bytes = p->at.n_bytes;
    escapes->begin = w->end;
    w->end += escapes->n_bytes;
    MOE_TRY(begin_tensor(w, escapes, err));
    MOE_TRY(put(w, p->escapes, p->at.n_bytes, err));
    end_tensor(w);
    return MOE_OK;
}

static moe_status pack_tensor(struct writer *w, const struct moe_pack_matrix *m, struct moe_pack_output *data,
                              moe_pack_report *report, moe_error *err) {
    struct packing p = {.matrix = m, .writer = w, .chunk_rows = moe_pack_chunk_rows(m->cols)};
    size_t n_escapes = 0;
    p.row_bytes = moe_format_row_bytes(MOE_FORMAT_PACKED, m->cols);
    p.tallies = calloc(w->work->options.n_threads, sizeof *p.tallies);
    size_t most = MOE_PACK_BATCH * p.chunk_rows;
    p.packed = calloc(m->rows < most ? m->rows : most, p.row_bytes);
    moe_status status = p.tallies && p.packed ? write_both(&p, data, &n_escapes, err) : fail_memory(&p, err);
    report->n_packed++;
    report->plain_bytes += m->tensor->n_bytes;
    report->packed_bytes += data->n_bytes + p.at.n_bytes;
    report->n_blocks += (uint64_t)m->n * m->rows * moe_packed_blocks(m->cols);
    report->n_escapes += n_escapes;
    free(p.escapes);
    free(p.packed);
    free(p.tallies);
    return status;
}

/* ---- copying one tensor ------------------------------------------------------------------------------- */

static moe_status copy_bytes(struct writer *w, struct moe_pack_output *o, void *bytes, moe_error *err) {
    MOE_TRY(begin_tensor(w, o, err));
    for (size_t at = 0, n; at < o->n_bytes; at += n) {
        n = o->n_bytes - at < MOE_PACK_CHUNK ? o->n_bytes - at : MOE_PACK_CHUNK;
        MOE_TRY(moe_checkpoint_read(w->source, o->source, bytes, n, at, err));
        MOE_TRY(put(w, bytes, n, err));
        MOE_TRY(moe_pack_work_advance(w->work, n, err));
    }
    end_tensor(w);
    return MOE_OK;
}

static moe_status copy_tensor(struct writer *w, struct moe_pack_output *o, moe_pack_report *report,
                              moe_error *err) {
    void *bytes = malloc(MOE_PACK_CHUNK);
    if (!bytes) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", w->file);
    o->begin = w->end;
    w->end += o->n_bytes;
    report->n_copied++;
    report->copied_bytes += o->n_bytes;
    moe_status status = copy_bytes(w, o, bytes, err);
    free(bytes);
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* The two tensors of each matrix; what is packed has its place. */
static void list_packed(struct writer *w, const struct moe_pack_matrix *matrices, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct moe_pack_matrix *m = &matrices[i];
        struct moe_pack_output *o = &w->outputs[2 * i];
        o[0] =
            (struct moe_pack_output){.source = m->tensor, .suffix = MOE_PACKED_SUFFIX, .dtype = MOE_DTYPE_U8};
        if (m->is_stacked) o->shape[o->rank++] = m->n;
        o->shape[o->rank++] = m->rows;
        o->shape[o->rank++] = moe_packed_blocks(m->cols);
        o->shape[o->rank++] = MOE_PACKED_BYTES;
        o->n_bytes = m->n * m->rows * moe_format_row_bytes(MOE_FORMAT_PACKED, m->cols);
        o->begin = w->end;
        w->end += o->n_bytes;
        o[1] = (struct moe_pack_output){
            .source = m->tensor, .suffix = MOE_ESCAPES_SUFFIX, .dtype = MOE_DTYPE_U8, .rank = 1};
    }
    w->n_outputs = 2 * n;
}

/* matrices come in the order of the checkpoint. */
static void list_copied(struct writer *w, const struct moe_pack_matrix *matrices, size_t n) {
    for (size_t i = 0, next = 0; i < moe_checkpoint_count(w->source); i++) {
        const struct moe_tensor *t = moe_checkpoint_tensor(w->source, i);
        if (next < n && matrices[next].tensor == t) {
            next++;
            continue;
        }
        struct moe_pack_output *o = &w->outputs[w->n_outputs++];
        *o = (struct moe_pack_output){
            .source = t, .suffix = "", .dtype = t->dtype, .rank = t->rank, .n_bytes = t->n_bytes};
        memcpy(o->shape, t->shape, sizeof o->shape);
    }
}

/* A full disk is better found now than hours later; not every file system can tell. */
static moe_status take_room(struct writer *w, moe_error *err) {
    size_t n = w->data_offset + w->end;
    for (size_t i = 2 * w->n_matrices; i < w->n_outputs; i++) n += w->outputs[i].n_bytes;
    int failed;
    do failed = fallocate(w->fd, 0, 0, (off_t)n);
    while (failed && errno == EINTR);
    if (!failed || (errno != ENOSPC && errno != EFBIG && errno != EDQUOT)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_IO, "%s: no room for %zu MiB: %s", w->file, n >> 20, strerror(errno));
}

static moe_status finish(struct writer *w, moe_error *err) {
    char *header;
    MOE_TRY(moe_pack_header_format(&header, w->data_offset, w->file, w->outputs, w->n_outputs, err));
    moe_status status = moe_file_write(w->fd, header, w->data_offset, 0, w->file, err);
    free(header);
    MOE_TRY(status);
    if (fsync(w->fd) != 0)
        return MOE_FAIL(err, MOE_E_IO, "%s: cannot be flushed: %s", w->file, strerror(errno));
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED); /* what is compared is then what the disk has */
    return MOE_OK;
}

static moe_status write_all(struct writer *w, const struct moe_pack_matrix *matrices, size_t n,
                            moe_pack_report *report, moe_error *err) {
    uint64_t total = 0;
    list_packed(w, matrices, n);
    list_copied(w, matrices, n);
    MOE_TRY(moe_pack_header_measure(&w->data_offset, w->file, w->outputs, w->n_outputs, err));
    MOE_TRY(take_room(w, err));
    for (size_t i = 0; i < moe_checkpoint_count(w->source); i++)
        total += moe_checkpoint_tensor(w->source, i)->n_bytes;
    moe_pack_work_begin(w->work, "packing", total);
    for (size_t i = 0; i < n; i++) MOE_TRY(pack_tensor(w, &matrices[i], &w->outputs[2 * i], report, err));
    for (size_t i = 2 * n; i < w->n_outputs; i++) MOE_TRY(copy_tensor(w, &w->outputs[i], report, err));
    MOE_TRY(finish(w, err));
    report->file_bytes = w->data_offset + w->end;
    return MOE_OK;
}

moe_status moe_pack_file_write(int fd, const char *file, const struct moe_checkpoint *source,
                               const struct moe_pack_matrix *matrices, size_t n, struct moe_pack_work *work,
                               moe_pack_report *report, moe_error *err) {
    struct moe_pack_output *outputs = calloc(moe_checkpoint_count(source) + n, sizeof *outputs);
    struct writer w = {
        .fd = fd, .file = file, .source = source, .work = work, .n_matrices = n, .outputs = outputs};
    if (!outputs) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", file);
    moe_status status = write_all(&w, matrices, n, report, err);
    if (w.hash.state) moe_pack_hash_end(&w.hash);
    free(outputs);
    return status;
}
