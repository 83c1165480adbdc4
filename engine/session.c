/* Sizes everything, takes it in one arena, and cuts evals into passes. The layout runs twice: on an arena
 * without memory to measure it, then for real. */
#include "engine/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "engine/forward.h"

enum { DEFAULT_ROWS = 512, MAX_SEQUENCES = 4096, MAX_THREADS = 1024, MAX_CONTEXT = 1 << 28 };

static moe_status check_options(moe_session_options *o, moe_error *err) {
    if (!o->n_sequences) o->n_sequences = 1;
    if (!o->n_threads) o->n_threads = moe_physical_cores();
    if (o->n_sequences > MAX_SEQUENCES)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "sequences: %zu, expected at most %d", o->n_sequences,
                        MAX_SEQUENCES);
    if (o->n_threads > MAX_THREADS)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "threads: %zu, expected at most %d", o->n_threads, MAX_THREADS);
    if (!o->context || o->context > MAX_CONTEXT)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "context: %zu, expected 1 to %d", o->context, MAX_CONTEXT);
    size_t most = o->n_sequences * o->context;
    if (!o->max_rows) o->max_rows = DEFAULT_ROWS;
    if (o->max_rows > most) o->max_rows = most;
    if (!o->max_logits) o->max_logits = o->n_sequences;
    return MOE_OK;
}

static bool keeps(const struct moe_spec *spec) {
    bool any = false;
    for (size_t i = 0; i < spec->n_steps; i++) any |= spec->steps[i].is_kept;
    return any;
}

static void lay_out(struct moe_session *s) {
    const struct moe_spec *spec = &s->model->spec;
    const bool *layouts = s->model->weights.layouts;
    const moe_session_options *o = &s->options;
    struct moe_arena *a = &s->arena;
    size_t hidden = spec->hidden_size;
    moe_cache_take(&s->cache, a, spec, o->n_sequences, o->context, o->max_rows);
    s->cache_bytes = a->used;
    moe_batch_take(&s->batch, a, o->max_rows);
    s->x = moe_arena_take(a, o->max_rows, hidden * sizeof(float));
    moe_activations_take(&s->normed, a, o->max_rows, hidden, layouts);
    s->delta = moe_arena_take(a, o->max_rows, hidden * sizeof(float));
    if (keeps(spec)) s->kept = moe_arena_take(a, o->max_rows, hidden * sizeof(float));
    moe_attention_take(&s->attention, a, spec, layouts, o->max_rows, o->n_threads);
    moe_experts_take(&s->experts, a, spec, layouts, o->max_rows, o->n_threads);
    s->logits = moe_arena_take(a, o->max_logits, spec->vocab_size * sizeof(float));
    s->next_position = moe_arena_take(a, o->n_sequences, sizeof *s->next_position);
    s->expected = moe_arena_take(a, o->n_sequences, sizeof *s->expected);
    if (spec->ropes[0].recomputes) {
        s->tokens = moe_arena_take(a, o->n_sequences, o->context * sizeof *s->tokens);
        s->was_long = moe_arena_take(a, o->n_sequences, sizeof *s->was_long);
        s->again = moe_arena_take(a, o->max_rows, sizeof *s->again);
    }
    if (o->tap) {
        size_t widest = hidden > spec->router.n_choices ? hidden : spec->router.n_choices;
        s->tapped = moe_arena_take(a, o->max_rows, widest * sizeof(float));
    }
    if (s->gemm.openblas) {
        const size_t widths[] = {hidden,
                                 spec->n_heads * spec->value_dim,
                                 spec->expert_width,
                                 spec->dense_width,
                                 spec->shared_width,
                                 spec->latent.q_rank,
                                 spec->latent.kv_rank,
                                 spec->latent.nope_dim};
        size_t widest = 0;
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
            if (widths[i] > widest) widest = widths[i];
        s->gemm.scratch = moe_arena_take(a, o->n_threads, sizeof *s->gemm.scratch);
        for (size_t i = 0; i < o->n_threads; i++) {
            struct moe_openblas_scratch scratch;
            moe_openblas_scratch_take(&scratch, a, o->max_rows, widest);
            if (s->gemm.scratch) s->gemm.scratch[i] = scratch;
        }
    }
}

static moe_status measure(struct moe_session *s, const moe_model *model, const moe_session_options *opt,
                          moe_error *err) {
    *s = (struct moe_session){.model = model, .options = *opt};
    s->fits_threads = !opt->n_threads;
    MOE_TRY(check_options(&s->options, err));
    s->gemm = (struct moe_gemm_backend){.kernels = &model->kernels,
                                        .openblas = model->uses_openblas ? &model->openblas : NULL};
    lay_out(s);
    if (s->arena.overflow)
        return MOE_FAIL(err, MOE_E_MEMORY,
                        "context: %zu positions of %zu sequences are more than this machine can address",
                        s->options.context, s->options.n_sequences);
    return MOE_OK;
}

moe_status moe_session_measure_parts(size_t *cache_bytes, size_t *other_bytes, const moe_model *model,
                                     const moe_session_options *opt, moe_error *err) {
    struct moe_session s;
    *cache_bytes = *other_bytes = 0;
    MOE_TRY(measure(&s, model, opt, err));
    *cache_bytes = s.cache_bytes;
    *other_bytes = s.arena.used - s.cache_bytes;
    return MOE_OK;
}

moe_status moe_session_measure(size_t *bytes, const moe_model *model, const moe_session_options *opt,
                               moe_error *err) {
    size_t cache_bytes, other_bytes;
    *bytes = 0;
    MOE_TRY(moe_session_measure_parts(&cache_bytes, &other_bytes, model, opt, err));
    *bytes = cache_bytes + other_bytes;
    return MOE_OK;
}

static moe_status open_session(struct moe_session *s, const moe_model *model, const moe_session_options *opt,
                               moe_error *err) {
    MOE_TRY(measure(s, model, opt, err));
    size_t available = moe_memory_available();
    if (s->arena.used > available)
        return MOE_FAIL(err, MOE_E_MEMORY,
                        "context: %zu positions of %zu sequences need %zu MiB, %zu MiB are available",
                        s->options.context, s->options.n_sequences, s->arena.used >> 20, available >> 20);
    MOE_TRY(moe_arena_back(&s->arena, err));
    lay_out(s);
    s->gemm.counters = &s->counters;
    moe_status status = moe_team_open(&s->team, s->options.n_threads, err);
    if (status != MOE_OK) moe_arena_free(&s->arena);
    return status;
}

moe_status moe_session_open(moe_session **out, const moe_model *model, const moe_session_options *opt,
                            moe_error *err) {
    *out = NULL;
    struct moe_session *s = aligned_alloc(MOE_ALIGN, (sizeof *s + MOE_ALIGN - 1) / MOE_ALIGN * MOE_ALIGN);
    if (!s) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    moe_status status = open_session(s, model, opt, err);
    if (status != MOE_OK)
        free(s);
    else
        *out = s;
    return status;
}

void moe_session_close(moe_session *s) {
    if (!s) return;
    moe_arena_free(&s->arena);
    free(s);
}

/* Everything about the rows is checked before anything is changed. */
static moe_status check_rows(struct moe_session *s, const moe_row *rows, size_t n_rows, moe_error *err) {
    const moe_session_options *o = &s->options;
    size_t n_wanted = 0;
    for (size_t i = 0; i < o->n_sequences; i++) s->next_position[i] = SIZE_MAX;
    for (size_t r = 0; r < n_rows; r++) {
        const moe_row *row = &rows[r];
        if (row->sequence >= o->n_sequences)
            return MOE_FAIL(err, MOE_E_ARGUMENT, "row %zu: sequence %u, expected below %zu", r, row->sequence,
                            o->n_sequences);
        if (row->position >= o->context)
            return MOE_FAIL(err, MOE_E_ARGUMENT, "row %zu: position %u is past the context of %zu", r,
                            row->position, o->context);
        if (row->token >= s->model->spec.vocab_size)
            return MOE_FAIL(err, MOE_E_ARGUMENT, "row %zu: token %u is outside the vocabulary of %zu", r,
                            row->token, s->model->spec.vocab_size);
        size_t *next = &s->next_position[row->sequence];
        bool fits =
            *next == SIZE_MAX ? row->position <= s->cache.length[row->sequence] : row->position == *next;
        if (!fits)
            return MOE_FAIL(err, MOE_E_ARGUMENT,
                            "row %zu: position %u does not follow what sequence %u holds", r, row->position,
                            row->sequence);
        if (*next == SIZE_MAX &&
            !moe_cache_can_resume(&s->cache, &s->model->spec, row->sequence, row->position))
            return MOE_FAIL(err, MOE_E_ARGUMENT,
                            "row %zu: position %u: the layers with a window have forgotten what it sees", r,
                            row->position);
        *next = row->position + (size_t)1;
        n_wanted += row->logits;
    }
    if (n_wanted > o->max_logits)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "logits of %zu rows wanted, the session holds %zu", n_wanted,
                        o->max_logits);
    return MOE_OK;
}

static moe_status check_files(const struct moe_session *s, moe_error *err) {
    return s->model->checkpoint ? moe_checkpoint_check(s->model->checkpoint, err) : MOE_OK;
}

/* Multiply-adds of one row in the layers: what a phase between two barriers has to share out. */
static size_t row_work(const struct moe_spec *spec) {
    const struct moe_latent_spec *l = &spec->latent;
    size_t attention = 2 * spec->head_dim * (spec->n_heads + spec->n_kv_heads);
    if (l->kv_rank)
        attention = l->q_rank + l->kv_rank + l->rope_dim + spec->n_heads * (spec->head_dim + l->value_dim);
    size_t width = spec->top_k * spec->expert_width + spec->shared_width;
    if (spec->sublayers > 1) width += spec->dense_width;
    return spec->hidden_size * (attention + spec->router.n_choices + 3 * width);
}

/* A worker more is worth its waiting at barriers if every phase gives it some microseconds of work; on a busy
 * machine a barrier can cost a time slice of another process, and a small model then runs best on one thread.
 */
static size_t count_workers(const struct moe_session *s, size_t n_rows) {
    enum { PHASES = 8, LEAST_WORK = 500000 };
    if (!s->fits_threads) return s->options.n_threads;
    size_t n = n_rows * row_work(&s->model->spec) / PHASES / LEAST_WORK;
    return n < 1 ? 1 : n < s->options.n_threads ? n : s->options.n_threads;
}

size_t moe_session_final_length(const struct moe_session *s, size_t sequence) {
    size_t length = s->next_position[sequence];
    return s->expected[sequence] > length ? s->expected[sequence] : length;
}

static void run_pass(struct moe_session *s, const moe_row *rows, size_t n_rows) {
    moe_batch_set(&s->batch, rows, n_rows);
    moe_team_run(&s->team, count_workers(s, n_rows), moe_forward, s);
    s->n_logits += s->batch.n_wanted;
    s->counters.n_rows += n_rows;
    s->counters.n_passes++;
    for (size_t r = 0; r < n_rows; r++) {
        size_t *written = &s->cache.written[rows[r].sequence], end = rows[r].position + (size_t)1;
        s->cache.length[rows[r].sequence] = end;
        if (end == 1 || end > *written) *written = end;
        if (end >= s->expected[rows[r].sequence]) s->expected[rows[r].sequence] = 0;
        if (s->tokens) s->tokens[rows[r].sequence * s->options.context + rows[r].position] = rows[r].token;
    }
}

/* Computes the first `n` positions of a sequence once more. */
static void run_again(struct moe_session *s, uint32_t sequence, size_t n) {
    s->recomputing = true;
    for (size_t at = 0; at < n;) {
        size_t left = n - at, n_rows = left < s->options.max_rows ? left : s->options.max_rows;
        for (size_t i = 0; i < n_rows; i++, at++)
            s->again[i] = (moe_row){.sequence = sequence,
                                    .position = (uint32_t)at,
                                    .token = s->tokens[sequence * s->options.context + at]};
        run_pass(s, s->again, n_rows);
    }
    s->recomputing = false;
}

/* Where a sequence becomes long, or short again, in this eval, what it holds was computed otherwise. */
static void recompute(struct moe_session *s, const moe_row *rows, size_t n_rows) {
    for (size_t r = 0; r < n_rows; r++) {
        uint32_t sequence = rows[r].sequence;
        if (r && sequence == rows[r - 1].sequence) continue;
        bool is_long = moe_session_final_length(s, sequence) > s->model->spec.ropes[0].long_after;
        if (is_long != s->was_long[sequence]) run_again(s, sequence, rows[r].position);
        s->was_long[sequence] = is_long;
    }
}

moe_status moe_session_eval(moe_session *s, const moe_row *rows, size_t n_rows, moe_error *err) {
    MOE_TRY(check_rows(s, rows, n_rows, err));
    MOE_TRY(check_files(s, err));
    s->n_logits = 0;
    if (s->model->spec.ropes[0].recomputes) recompute(s, rows, n_rows);
    for (size_t at = 0; at < n_rows; at += s->options.max_rows) {
        size_t left = n_rows - at;
        run_pass(s, rows + at, left < s->options.max_rows ? left : s->options.max_rows);
    }
    return check_files(s, err);
}

void moe_session_expect(moe_session *s, size_t sequence, size_t length) {
    assert(sequence < s->options.n_sequences);
    s->expected[sequence] = length;
}

const float *moe_session_logits(const moe_session *s, size_t i) {
    assert(i < s->n_logits);
    return s->logits + i * s->model->spec.vocab_size;
}

size_t moe_session_length(const moe_session *s, size_t sequence) {
    assert(sequence < s->options.n_sequences);
    return s->cache.length[sequence];
}

size_t moe_session_threads(const moe_session *s) {
    return s->options.n_threads;
}

moe_counters moe_session_counters(const moe_session *s) {
    return s->counters;
}

void moe_session_reset_counters(moe_session *s) {
    s->counters = (moe_counters){0};
}

void moe_session_tap(struct moe_worker *worker, struct moe_session *s, moe_tap_kind kind, size_t layer,
                     const float *values, size_t ld, size_t n) {
    if (!s->options.tap || s->recomputing) return;
    if (worker->rank == 0) {
        for (size_t r = 0; r < s->batch.n_rows; r++)
            memcpy(s->tapped + r * n, values + r * ld, n * sizeof *values);
        const moe_tap tap = {.kind = kind,
                             .layer = layer / s->model->spec.sublayers,
                             .n_rows = s->batch.n_rows,
                             .n = n,
                             .values = s->tapped};
        s->options.tap(s->options.tap_context, &tap);
    }
    moe_worker_barrier(worker);
}

void moe_session_tap_ids(struct moe_worker *worker, struct moe_session *s, moe_tap_kind kind, size_t layer,
                         const uint32_t *ids, size_t n) {
    if (!s->options.tap || s->recomputing) return;
    if (worker->rank == 0) {
        const moe_tap tap = {.kind = kind,
                             .layer = layer / s->model->spec.sublayers,
                             .n_rows = s->batch.n_rows,
                             .n = n,
                             .ids = ids};
        s->options.tap(s->options.tap_context, &tap);
    }
    moe_worker_barrier(worker);
}
