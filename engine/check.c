/* Checks a checkpoint: the steps of opening a model, but that tensors are listed instead of bound
 * (moe_weights_list), so that a fault is no end and nothing is copied; and what the model would take. */
#include "engine/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "engine/session.h"
#include "loader/file.h"

enum { DEFAULT_LISTED = 20, MOST_FAULTS = 10000 };

/* ---- tensors ------------------------------------------------------------------------------------------ */

/* Room for `more` elements of `size` bytes after *list [n]. */
static moe_status make_room(void *list, size_t *room, size_t n, size_t more, size_t size, moe_error *err) {
    size_t wanted = *room ? *room : 64, bytes;
    void *old, *grown = NULL;
    memcpy(&old, list, sizeof old);
    if (*room - n >= more) return MOE_OK;
    while (wanted - n < more && wanted <= SIZE_MAX / 2) wanted *= 2;
    if (wanted - n >= more && !__builtin_mul_overflow(wanted, size, &bytes)) grown = realloc(old, bytes);
    if (!grown) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory for a list of tensors");
    memcpy(list, &grown, sizeof grown);
    *room = wanted;
    return MOE_OK;
}

static moe_status add_tensor(void *context, const struct moe_listed_tensor *t, moe_error *err) {
    struct moe_check *c = context;
    size_t n = t->n_stacked ? t->n_stacked : 1;
    MOE_TRY(make_room(&c->items, &c->item_room, c->n_items, 1, sizeof *c->items, err));
    MOE_TRY(make_room(&c->matrices, &c->matrix_room, c->n_matrices, n, sizeof *c->matrices, err));
    char *name = strdup(t->name);
    if (!name) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory for a list of tensors");
    struct moe_check_item *item = &c->items[c->n_items++];
    item->name = name;
    item->first = c->n_matrices;
    item->n = n;
    memcpy(c->matrices + c->n_matrices, t->matrices, n * sizeof *c->matrices);
    c->n_matrices += n;
    c->report.n_tensors++;
    return MOE_OK;
}

/* A config.json of another model may ask for millions of tensors that are not there. */
static moe_status note_fault(void *context, moe_error *err) {
    struct moe_check *c = context;
    moe_check_report *r = &c->report;
    if (r->n_faults == MOST_FAULTS) {
        r->has_more_faults = true;
        return MOE_E_FORMAT;
    }
    r->n_faults++;
    r->n_tensors++;
    if (r->n_faults_listed == c->options.max_listed) return MOE_OK;
    char *message = strdup(err->message);
    if (!message) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory for a list of faults");
    c->faults[r->n_faults_listed++] = message;
    return MOE_OK;
}

static moe_status list_tensors(struct moe_check *c, const char *path, moe_error *err) {
    struct moe_model *m = c->model;
    size_t n = c->options.max_listed < MOST_FAULTS ? c->options.max_listed : MOST_FAULTS;
    const struct moe_weights_list list = {add_tensor, add_tensor, note_fault, c};
    MOE_TRY(moe_checkpoint_open(&m->checkpoint, path, err));
    c->options.max_listed = n;
    if (!(c->faults = calloc(n, sizeof *c->faults))) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    const struct moe_source source = moe_source_checkpoint(m->checkpoint);
    moe_status status = moe_weights_list(&m->weights, &list, &m->spec, &source, err);
    return c->report.has_more_faults ? MOE_OK : status;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static moe_status measure_repacked(struct moe_check *c, moe_error *err) {
    const moe_model_options *o = &c->options.model;
    const struct moe_repack_options options = {.packs = o->weights == MOE_WEIGHTS_PACKED,
                                               .n_threads = o->n_threads};
    if (o->weights == MOE_WEIGHTS_MAPPED) return MOE_OK;
    return moe_repack_measure(&c->repack_bytes, &c->model->weights, &c->model->spec, &options, err);
}

static moe_status open_files(struct moe_check *c, const char *path, const char *dir, moe_error *err) {
    struct moe_model *m = c->model;
    MOE_TRY(moe_model_read(m, path, dir, false, &c->options.model, err));
    MOE_TRY(moe_check_read_ids(c, dir, err));
    MOE_TRY(list_tensors(c, path, err));
    moe_model_fill_info(m);
    c->report.model = &m->info;
    c->report.faults = (const char *const *)c->faults;
    if (c->report.n_faults) return MOE_OK;
    m->info.storage = moe_model_storage(m);
    MOE_TRY(measure_repacked(c, err)); /* before the formats that packing looks for are others */
    return moe_model_choose_precision(m, &c->options.model, err);
}

static moe_status open_check(struct moe_check *c, const char *path, moe_error *err) {
    char *dir;
    if (c->options.model.synthetic)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "random weights are not to be checked");
    if (!(c->model = calloc(1, sizeof *c->model))) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(moe_file_directory(&dir, path, err));
    moe_status status = open_files(c, path, dir, err);
    free(dir);
    return status;
}

moe_status moe_check_open(moe_check **out, const char *path, const moe_check_options *opt, moe_error *err) {
    struct moe_check *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    if (opt) c->options = *opt;
    if (!c->options.max_listed) c->options.max_listed = DEFAULT_LISTED;
    if (!c->options.model.n_threads) c->options.model.n_threads = moe_physical_cores();
    moe_status status = open_check(c, path, err);
    if (status != MOE_OK)
        moe_check_close(c);
    else
        *out = c;
    return status;
}

void moe_check_close(moe_check *c) {
    if (!c) return;
    for (size_t i = 0; i < c->n_items; i++) free(c->items[i].name);
    for (size_t i = 0; i < c->report.n_faults_listed; i++) free(c->faults[i]);
    free(c->items);
    free(c->faults);
    free(c->matrices);
    free(c->tensors);
    moe_model_close(c->model);
    free(c);
}

const moe_check_report *moe_check_get_report(const moe_check *c) {
    return &c->report;
}

/* ---- memory ------------------------------------------------------------------------------------------- */

static uint64_t or_unknown(size_t bytes) {
    return bytes == SIZE_MAX ? UINT64_MAX : bytes;
}

/* An embedding that is not the head as well stays in the file: only rows of it are read. */
static uint64_t mapped_bytes(const struct moe_check *c) {
    const struct moe_weights *w = &c->model->weights;
    if (c->options.model.weights == MOE_WEIGHTS_MAPPED) return w->n_bytes - w->n_replaced;
    return moe_weights_share_head(w) ? 0 : moe_matrix_bytes(&w->embed);
}

moe_status moe_check_memory(moe_memory_plan *out, const moe_check *c, const moe_session_options *opt,
                            moe_error *err) {
    size_t cache, scratch;
    *out = (moe_memory_plan){.runs = MOE_RUNS_NOT};
    if (c->report.n_faults)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "what a model takes is not known while tensors are at fault");
    MOE_TRY(moe_session_measure_parts(&cache, &scratch, c->model, opt, err));
    out->mapped = mapped_bytes(c);
    out->copied = c->model->weights.n_owned + c->repack_bytes;
    out->cache = cache;
    out->scratch = scratch;
    out->needed = out->copied + cache + scratch; /* each of them is below 2^63 */
    out->available = or_unknown(moe_memory_available());
    out->total = or_unknown(moe_memory_total());
    out->limit = or_unknown(moe_memory_limit());
    if (out->needed > out->available) return MOE_OK;
    out->runs = out->mapped > out->available - out->needed ? MOE_RUNS_FROM_DISK : MOE_RUNS_IN_MEMORY;
    return MOE_OK;
}
