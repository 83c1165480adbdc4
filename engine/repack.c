/* Every matrix has a place of known size in one mapping; only how many escapes a packed one has is found when
 * it is packed. So escapes come after all places, in the order in which they are found, in address space for
 * the worst case: pages that nobody writes cost nothing, and the rest is unmapped at the end.
 *
 * A task is one matrix, or several that lie among each other (rows of gate and up that alternate): when it is
 * done, the pages that they were read from are dropped, so that memory never holds much more than one copy.
 */
#include "engine/repack.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/machine.h"
#include "base/packed.h"
#include "base/status.h"
#include "engine/threads.h"

enum {
    HUGE_PAGE = 2 << 20,
    LARGE = 4 << 20 /* escapes of one matrix: less is not worth asking the system about */
};

struct item {
    struct moe_matrix *w;
    size_t at; /* of its place */
};

struct task {
    size_t first, end;                /* items */
    const unsigned char *from, *upto; /* what they are read from */
};

struct repack {
    const struct moe_repack_options *options;
    struct item *items;
    struct task *tasks;
    size_t n_items, n_tasks, room, bytes, escape_bytes;
    bool failed; /* out of memory while listing */
    unsigned char *base;
    atomic_size_t used; /* of base: places, then escapes */
    atomic_size_t n_done;
    atomic_bool exhausted; /* no memory for escapes */
};

static size_t rounded(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

static bool is_packed_here(const struct repack *p, const struct moe_matrix *w) {
    return p->options->packs && w->format == MOE_FORMAT_BF16;
}

/* ---- sizes -------------------------------------------------------------------------------------------- */

static size_t scale_bytes(const struct moe_matrix *w) {
    return w->format == MOE_FORMAT_MXFP4 ? 1 : moe_format_bits(w->scales.number) / 8;
}

static size_t groups_of(const struct moe_matrix *w) {
    return (w->cols + w->scales.columns - 1) / w->scales.columns;
}

static size_t group_rows_of(const struct moe_matrix *w) {
    return (w->scales.first_row + w->rows + w->scales.rows - 1) / w->scales.rows;
}

static size_t n_escapes_of(const struct moe_matrix *w) {
    return moe_packed_number(w->escapes.first, w->rows) - moe_packed_number(w->escapes.first, 0);
}

/* Parts of a place, each at a cache line. */
static size_t data_bytes(const struct moe_matrix *w, enum moe_format format) {
    return rounded(w->rows * moe_format_row_bytes(format, w->cols), MOE_ALIGN);
}

static size_t scales_bytes(const struct moe_matrix *w) {
    return rounded(group_rows_of(w) * groups_of(w) * scale_bytes(w), MOE_ALIGN);
}

/* A table and `first`. */
static size_t index_bytes(const struct moe_matrix *w) {
    return rounded(MOE_PACKED_TABLE + (w->rows + 1) * sizeof(uint32_t), MOE_ALIGN);
}

/* `block` and `high`. */
static size_t high_bytes(size_t n_escapes) {
    return rounded(n_escapes * sizeof(uint32_t), MOE_ALIGN) + n_escapes * MOE_PACKED_WEIGHTS;
}

static size_t place_bytes(const struct repack *p, const struct moe_matrix *w) {
    if (is_packed_here(p, w)) return data_bytes(w, MOE_FORMAT_PACKED) + index_bytes(w);
    size_t bytes = data_bytes(w, w->format);
    if (w->format == MOE_FORMAT_PACKED) bytes += index_bytes(w) + high_bytes(n_escapes_of(w));
    if (moe_format_is_quantised(w->format)) bytes += scales_bytes(w) * (w->scales.bias ? 2 : 1);
    return bytes;
}

/* ---- the list ----------------------------------------------------------------------------------------- */

static const unsigned char *end_of(const struct moe_matrix *w) {
    return moe_matrix_row(w, w->rows - 1) + moe_format_row_bytes(w->format, w->cols);
}

static bool make_room(struct repack *p) {
    if (p->n_items < p->room) return true;
    size_t room = p->room ? 2 * p->room : 256;
    struct item *items = realloc(p->items, room * sizeof *items);
    if (items) p->items = items;
    struct task *tasks = realloc(p->tasks, room * sizeof *tasks);
    if (tasks) p->tasks = tasks;
    if (items && tasks) p->room = room;
    return items && tasks;
}

static void add_item(void *context, struct moe_matrix *w) {
    struct repack *p = context;
    p->failed |= !make_room(p);
    if (p->failed) return;
    assert(p->items && p->tasks);
    const unsigned char *from = w->data, *upto = end_of(w);
    struct task *last = p->n_tasks ? &p->tasks[p->n_tasks - 1] : NULL;
    if (last && from < last->upto && last->from < upto) {
        last->end++;
        if (from < last->from) last->from = from;
        if (upto > last->upto) last->upto = upto;
    } else {
        p->tasks[p->n_tasks++] = (struct task){p->n_items, p->n_items + 1, from, upto};
    }
    p->items[p->n_items++] = (struct item){w, p->bytes};
    p->bytes += place_bytes(p, w);
    if (is_packed_here(p, w)) p->escape_bytes += high_bytes(w->rows * moe_packed_blocks(w->cols));
}

/* Most that is held at once beyond what is held now, but for escapes: all of it where a file was mapped; of
 * synthetic weights what they took comes back, later by as many tasks as there are workers. */
static size_t bytes_needed(const struct repack *p) {
    size_t taken = 0, given = 0, largest = 0, most = 0;
    if (!p->options->is_synthetic) return p->bytes;
    for (const struct task *t = p->tasks; t < p->tasks + p->n_tasks; t++) {
        size_t end = t->end < p->n_items ? p->items[t->end].at : p->bytes;
        size_t n = (size_t)(t->upto - t->from);
        taken += end - p->items[t->first].at;
        if (n > largest) largest = n;
        size_t held = taken + p->options->n_threads * largest;
        if (held > given && held - given > most) most = held - given;
        given += n;
    }
    return most;
}

/* ---- copying ------------------------------------------------------------------------------------------ */

static void copy_rows(unsigned char *to, const void *from, size_t n_rows, size_t distance, size_t n) {
    for (size_t r = 0; r < n_rows; r++) memcpy(to + r * n, (const unsigned char *)from + r * distance, n);
}

static unsigned char *copy_scales(struct moe_matrix *out, unsigned char *to) {
    struct moe_scales *s = &out->scales;
    size_t n_rows = group_rows_of(out), n = groups_of(out) * scale_bytes(out);
    copy_rows(to, s->scale, n_rows, s->row_bytes, n);
    s->scale = to;
    to += scales_bytes(out);
    if (s->bias) {
        copy_rows(to, s->bias, n_rows, s->row_bytes, n);
        s->bias = to;
        to += scales_bytes(out);
    }
    s->row_bytes = n;
    return to;
}

static void copy_escapes(struct moe_matrix *out, unsigned char *to) {
    struct moe_escapes *e = &out->escapes;
    size_t n = n_escapes_of(out), before = moe_packed_number(e->first, 0);
    uint32_t *first = (uint32_t *)(void *)(to + MOE_PACKED_TABLE);
    memcpy(to, e->table, MOE_PACKED_TABLE);
    for (size_t r = 0; r <= out->rows; r++) first[r] = moe_packed_number(e->first, r) - (uint32_t)before;
    unsigned char *block = to + index_bytes(out), *high = block + rounded(n * sizeof(uint32_t), MOE_ALIGN);
    memcpy(block, (const unsigned char *)e->block + before * sizeof(uint32_t), n * sizeof(uint32_t));
    memcpy(high, moe_packed_high(e, before), n * MOE_PACKED_WEIGHTS);
    *e = (struct moe_escapes){to, first, block, high};
}

/* As it is, without what lies between its rows. */
static void copy_matrix(struct moe_matrix *w, unsigned char *to) {
    size_t row_bytes = moe_format_row_bytes(w->format, w->cols);
    copy_rows(to, w->data, w->rows, w->row_bytes, row_bytes);
    w->data = to;
    w->row_bytes = row_bytes;
    to += data_bytes(w, w->format);
    if (moe_format_is_quantised(w->format)) copy_scales(w, to);
    if (w->format == MOE_FORMAT_PACKED) copy_escapes(w, to);
}

static bool pack_matrix(struct repack *p, struct moe_matrix *w, unsigned char *to) {
    uint64_t tally[256] = {0};
    unsigned char *table = to + data_bytes(w, MOE_FORMAT_PACKED);
    uint32_t *first = (uint32_t *)(void *)(table + MOE_PACKED_TABLE);
    moe_packed_tally(tally, w, 0, w->rows);
    moe_packed_choose(table, tally);
    moe_packed_count(first + 1, w, table, 0, w->rows);
    if (!moe_packed_sum(first, w->rows)) return false;
    size_t n = first[w->rows], bytes = high_bytes(n);
    if (bytes >= LARGE && bytes > moe_memory_available()) return false;
    unsigned char *block =
        p->base + atomic_fetch_add_explicit(&p->used, rounded(bytes, MOE_ALIGN), memory_order_relaxed);
    const struct moe_packed_parts parts = {.data = to,
                                           .table = table,
                                           .first = first,
                                           .block = (uint32_t *)(void *)block,
                                           .high = block + rounded(n * sizeof(uint32_t), MOE_ALIGN)};
    moe_packed_write(&parts, w, 0, w->rows);
    *w = moe_packed_matrix(&parts, w->rows, w->cols);
    return true;
}

/* ---- the work ----------------------------------------------------------------------------------------- */

/* Gives back the whole pages between: a mapped file's can be read again, others are lost. */
static void drop_pages(const unsigned char *from, const unsigned char *upto) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = rounded((uintptr_t)from, page), end = (uintptr_t)upto / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED); /* advice: may be refused */
}

static void work(struct moe_worker *worker, void *context) {
    struct repack *p = context;
    size_t i;
    while (moe_worker_next(worker, p->n_tasks, &i)) {
        const struct task *t = &p->tasks[i];
        if (atomic_load_explicit(&p->exhausted, memory_order_relaxed)) continue;
        for (const struct item *item = &p->items[t->first]; item < &p->items[t->end]; item++) {
            unsigned char *to = p->base + item->at;
            if (!is_packed_here(p, item->w))
                copy_matrix(item->w, to);
            else if (!pack_matrix(p, item->w, to))
                atomic_store_explicit(&p->exhausted, true, memory_order_relaxed);
        }
        drop_pages(t->from, t->upto);
        size_t done = atomic_fetch_add_explicit(&p->n_done, t->end - t->first, memory_order_relaxed);
        if (worker->rank == 0 && p->options->progress)
            p->options->progress(p->options->context, p->options->packs ? "packing" : "copying",
                                 done + t->end - t->first, p->n_items);
    }
}

static uint64_t count_bytes(const struct repack *p) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->n_items; i++) bytes += moe_matrix_bytes(p->items[i].w);
    return bytes;
}

static moe_status map_places(struct repack *p, struct moe_repacked *out, moe_error *err) {
    size_t needed = bytes_needed(p), available = moe_memory_available();
    if (needed > available)
        return MOE_FAIL(err, MOE_E_MEMORY, "weights on huge pages need %zu MiB, %zu MiB are available",
                        (needed >> 20) + 1, available >> 20);
    size_t size = p->bytes + p->escape_bytes + HUGE_PAGE;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: %zu bytes wanted", size);
    *out = (struct moe_repacked){map, size};
    p->base = (unsigned char *)map + -(uintptr_t)map % HUGE_PAGE;
    madvise(p->base, size - HUGE_PAGE, MADV_HUGEPAGE); /* before the first touch */
    return MOE_OK;
}

/* What lies past the last escape. */
static void trim(const struct repack *p, struct moe_repacked *out) {
    unsigned char *end = (unsigned char *)out->map + out->map_bytes;
    unsigned char *used = p->base + rounded(atomic_load(&p->used), HUGE_PAGE);
    if (used >= end) return;
    munmap(used, (size_t)(end - used));
    out->map_bytes -= (size_t)(end - used);
}

static moe_status run(struct repack *p, struct moe_repacked *out, struct moe_weights *weights,
                      moe_error *err) {
    if (p->failed) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    uint64_t before = count_bytes(p);
    MOE_TRY(map_places(p, out, err));
    struct moe_team team;
    MOE_TRY(moe_team_open(&team, p->options->n_threads, err));
    atomic_init(&p->used, p->bytes);
    moe_team_run(&team, p->options->n_threads, work, p);
    if (atomic_load(&p->exhausted))
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: what packed weights keep apart does not fit");
    trim(p, out);
    weights->n_bytes = weights->n_bytes - before + count_bytes(p);
    return MOE_OK;
}

moe_status moe_repack(struct moe_repacked *out, struct moe_weights *weights, const struct moe_spec *spec,
                      const struct moe_repack_options *options, moe_error *err) {
    struct repack p = {.options = options};
    *out = (struct moe_repacked){0};
    bool shares_head = moe_weights_share_head(weights);
    moe_weights_visit(weights, spec, add_item, &p);
    moe_status status = run(&p, out, weights, err);
    if (shares_head) weights->embed = weights->head.w;
    free(p.items);
    free(p.tasks);
    return status;
}

moe_status moe_repack_measure(size_t *bytes, struct moe_weights *weights, const struct moe_spec *spec,
                              const struct moe_repack_options *options, moe_error *err) {
    struct repack p = {.options = options};
    moe_weights_visit(weights, spec, add_item, &p);
    *bytes = p.failed ? 0 : bytes_needed(&p);
    free(p.items);
    free(p.tasks);
    return p.failed ? MOE_FAIL(err, MOE_E_MEMORY, "out of memory") : MOE_OK;
}

void moe_repacked_free(struct moe_repacked *repacked) {
    if (repacked->map) munmap(repacked->map, repacked->map_bytes);
    *repacked = (struct moe_repacked){0};
}
