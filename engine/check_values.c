/* Every value of a checkpoint, widened by the kernels as a product would see it, and thrown away.
 *
 * What is looked at at once is a run of rows. Tensors whose numbers lie side by side are looked at as if they
 * were rows of VIEW columns: a vector, or a matrix of few columns, would cost a call for some numbers, and
 * one of a few endless rows would leave the other threads idle. Runs come in the order of the files, which is
 * not that of the model, so that a disk is read from front to back. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "engine/check.h"
#include "engine/threads.h"

enum { VIEW = 4096, RUN_VALUES = 1 << 19, BLOCK = 256 };

struct part {
    struct moe_matrix w;
    size_t item;
    size_t run_rows, end; /* end: the task after its last */
};

struct scan {
    const moe_check_options *options;
    const struct moe_kernels *kernels;
    struct moe_check_item *items;
    struct part *parts; /* [n_parts] */
    size_t n_parts, n_tasks, widest;
    float *rows; /* [n_threads, widest] */
    uint64_t n_values, n_bytes;
    atomic_ulong done; /* bytes */
    atomic_bool is_cancelled;
};

/* ---- the work ----------------------------------------------------------------------------------------- */

enum { EXPONENT = 0x7f800000, FRACTION = 0x007fffff, ABOVE = 0x00800000 };

static inline uint32_t bits_of(const float *x) {
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    return bits;
}

/* Almost always there is nothing to count. An exponent of ones runs over into the sign, so that a block of
 * fixed size is three vector instructions for each vector of it, whatever the instruction set. */
static bool is_block_finite(const float *x) {
    uint32_t any = 0;
    for (size_t i = 0; i < BLOCK; i++) any |= (bits_of(x + i) & EXPONENT) + ABOVE;
    return !(any >> 31);
}

static void tally_each(uint64_t *n_nan, uint64_t *n_infinite, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of(x + i);
        if ((bits & EXPONENT) != EXPONENT) continue;
        *(bits & FRACTION ? n_nan : n_infinite) += 1;
    }
}

static void tally(uint64_t *n_nan, uint64_t *n_infinite, const float *x, size_t n) {
    size_t at = 0;
    for (; n - at >= BLOCK; at += BLOCK)
        if (!is_block_finite(x + at)) tally_each(n_nan, n_infinite, x + at, BLOCK);
    tally_each(n_nan, n_infinite, x + at, n - at);
}

/* Rows of a part; returns how many bytes of codes they are. */
static size_t look_at(struct scan *s, const struct part *p, size_t task, float *row) {
    size_t n_runs = (p->w.rows + p->run_rows - 1) / p->run_rows, run = n_runs - (p->end - task);
    size_t first = run * p->run_rows, left = p->w.rows - first, n = left < p->run_rows ? left : p->run_rows;
    uint64_t n_nan = 0, n_infinite = 0;
    moe_widen_fn *widen = s->kernels->format[p->w.format].widen;
    for (size_t r = first; r < first + n; r++) {
        widen(row, &p->w, r);
        tally(&n_nan, &n_infinite, row, p->w.cols);
    }
    struct moe_check_item *item = &s->items[p->item];
    if (n_nan) atomic_fetch_add_explicit(&item->n_nan, n_nan, memory_order_relaxed);
    if (n_infinite) atomic_fetch_add_explicit(&item->n_infinite, n_infinite, memory_order_relaxed);
    return n * p->w.row_bytes;
}

/* The caller's own thread tells how far it is, and asks whether to go on. */
static void tell(struct scan *s, uint64_t done) {
    const moe_check_options *o = s->options;
    if (o->model.progress)
        o->model.progress(o->model.context, "checking", (size_t)(done >> 20), (size_t)(s->n_bytes >> 20));
    if (o->is_cancelled && o->is_cancelled(o->model.context))
        atomic_store_explicit(&s->is_cancelled, true, memory_order_relaxed);
}

static void work(struct moe_worker *worker, void *context) {
    struct scan *s = context;
    float *row = s->rows + worker->rank * s->widest;
    size_t task, at = 0;
    while (moe_worker_next(worker, s->n_tasks, &task)) {
        if (atomic_load_explicit(&s->is_cancelled, memory_order_relaxed)) break;
        while (task >= s->parts[at].end) at++;
        size_t bytes = look_at(s, &s->parts[at], task, row);
        uint64_t done = atomic_fetch_add_explicit(&s->done, bytes, memory_order_relaxed) + bytes;
        if (worker->rank == 0) tell(s, done);
    }
}

/* ---- parts -------------------------------------------------------------------------------------------- */

static void add_part(struct scan *s, struct moe_matrix w, size_t item) {
    if (!w.rows || !w.cols) return;
    size_t run_rows = RUN_VALUES / w.cols;
    s->parts[s->n_parts++] = (struct part){.w = w, .item = item, .run_rows = run_rows ? run_rows : 1};
    if (w.cols > s->widest) s->widest = w.cols;
    s->n_values += (uint64_t)w.rows * w.cols;
    s->n_bytes += w.rows * w.row_bytes;
}

static void add_matrix(struct scan *s, const struct moe_matrix *w, size_t item) {
    if (!moe_format_is_plain(w->format)) {
        add_part(s, *w, item);
        return;
    }
    size_t n = w->rows * w->cols,
           n_rows = n / VIEW; /* they lie in a file, so the product does not overflow */
    struct moe_matrix view = *w;
    view.rows = n_rows;
    view.cols = VIEW;
    view.row_bytes = moe_format_row_bytes(w->format, VIEW);
    add_part(s, view, item);
    view.data = moe_matrix_row(&view, n_rows);
    view.rows = 1;
    view.cols = n % VIEW;
    view.row_bytes = moe_format_row_bytes(w->format, view.cols);
    add_part(s, view, item);
}

static int compare_places(const void *a, const void *b) {
    const char *l = ((const struct part *)a)->w.data, *r = ((const struct part *)b)->w.data;
    return (l > r) - (l < r);
}

static moe_status prepare(struct scan *s, const struct moe_check *c, moe_error *err) {
    size_t n, bytes;
    bool overflow = __builtin_mul_overflow(c->n_matrices, 2 * sizeof *s->parts, &bytes);
    s->parts = overflow ? NULL : malloc(bytes + 1);
    if (!s->parts) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory for a list of tensors");
    for (size_t i = 0; i < c->n_items; i++) {
        struct moe_check_item *item = &c->items[i];
        atomic_init(&item->n_nan, 0);
        atomic_init(&item->n_infinite, 0);
        for (size_t j = 0; j < item->n; j++) add_matrix(s, &c->matrices[item->first + j], i);
    }
    qsort(s->parts, s->n_parts, sizeof *s->parts, compare_places);
    for (struct part *p = s->parts; p < s->parts + s->n_parts; p++) {
        s->n_tasks += (p->w.rows + p->run_rows - 1) / p->run_rows;
        p->end = s->n_tasks;
    }
    overflow = __builtin_mul_overflow(s->options->model.n_threads, s->widest, &n) ||
               __builtin_mul_overflow(n, sizeof *s->rows, &bytes);
    s->rows = overflow ? NULL : malloc(bytes + 1);
    return s->rows ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory for rows of %zu values", s->widest);
}

/* ---- the report --------------------------------------------------------------------------------------- */

static moe_check_tensor result_of(const struct moe_check *c, struct moe_check_item *item) {
    const struct moe_matrix *w = &c->matrices[item->first];
    return (moe_check_tensor){.name = item->name,
                              .format = moe_format_name(w->format),
                              .n_values = (uint64_t)item->n * w->rows * w->cols,
                              .n_nan = atomic_load(&item->n_nan),
                              .n_infinite = atomic_load(&item->n_infinite)};
}

static moe_status report(struct moe_check *c, const struct scan *s, moe_error *err) {
    moe_check_report *r = &c->report;
    moe_check_tensor *tensors = malloc(c->options.max_listed * sizeof *tensors);
    if (!tensors) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory for a list of tensors");
    free(c->tensors);
    r->tensors = c->tensors = tensors;
    r->n_values = s->n_values;
    r->n_bytes = s->n_bytes;
    r->n_nan = r->n_infinite = r->n_tainted = r->n_tensors_listed = 0;
    for (size_t i = 0; i < c->n_items; i++) {
        const moe_check_tensor t = result_of(c, &c->items[i]);
        if (!t.n_nan && !t.n_infinite) continue;
        r->n_nan += t.n_nan;
        r->n_infinite += t.n_infinite;
        r->n_tainted++;
        if (r->n_tensors_listed < c->options.max_listed) tensors[r->n_tensors_listed++] = t;
    }
    return MOE_OK;
}

static moe_status look_at_all(struct moe_check *c, struct scan *s, moe_error *err) {
    struct moe_team team;
    size_t n_threads = c->options.model.n_threads;
    atomic_init(&s->done, 0);
    atomic_init(&s->is_cancelled, false);
    MOE_TRY(prepare(s, c, err));
    MOE_TRY(moe_team_open(&team, n_threads, err));
    moe_team_run(&team, n_threads, work, s);
    MOE_TRY(moe_checkpoint_check(c->model->checkpoint, err));
    if (atomic_load(&s->is_cancelled)) return MOE_FAIL(err, MOE_E_CANCELLED, "checking: cancelled");
    return report(c, s, err);
}

moe_status moe_check_values(moe_check *c, moe_error *err) {
    struct scan s = {.options = &c->options, .kernels = &c->model->kernels, .items = c->items};
    moe_status status = look_at_all(c, &s, err);
    free(s.rows);
    free(s.parts);
    return status;
}
