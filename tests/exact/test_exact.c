/* Every checkpoint of tests/fixtures/exact against what transformers computed of it: greedy tokens equal,
 * logits and every tap close. One case per fixture and per instruction set that this CPU has. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"
#include "kernels/openblas.h"

enum { MAX_NAME = 128 };

struct fixture {
    char name[MAX_NAME];
    char isa[16];
    moe_gemm gemm;
};

/* A reference and what the engine's taps gave for it, compared as they come. */
struct replay {
    moe_tensors *dump;
    size_t first_row; /* of the dump, for the pass that the taps show */
    double worst[MOE_TAP_FFN_OUT + 1];
    size_t wrong_experts, compared;
};

static const char *const tap_names[] = {"hidden", "experts", "router", "ffn_in", "ffn_out"};
static const double tolerance = 1e-3; /* in standard deviations of what is compared */
static moe_error err;

static const float *floats(const moe_tensor_view *t) {
    return t->data;
}

static double std_of(const float *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    return sqrt(squares / (double)n - sum / (double)n * sum / (double)n);
}

/* Element i of an I64 tensor, which may lie at any address. */
static int64_t integer(const moe_tensor_view *t, size_t i) {
    int64_t x;
    memcpy(&x, (const char *)t->data + i * sizeof x, sizeof x);
    return x;
}

static bool contains(const moe_tensor_view *t, size_t first, size_t n, uint32_t id) {
    for (size_t i = first; i < first + n; i++)
        if (integer(t, i) == (int64_t)id) return true;
    return false;
}

static void compare_tap(void *context, const moe_tap *tap) {
    struct replay *r = context;
    char name[64];
    moe_tensor_view t;
    snprintf(name, sizeof name, "%s.%zu", tap_names[tap->kind], tap->layer);
    if (!moe_tensors_find(&t, r->dump, name)) return;
    r->compared++;
    double std = tap->ids ? 1 : std_of(floats(&t), t.shape[0] * t.shape[1]);
    cr_assert_eq(t.shape[1], tap->n, "%s", name);
    for (size_t i = 0; i < tap->n_rows * tap->n; i++) {
        size_t at = r->first_row * tap->n + i, row = at / tap->n;
        if (row >= t.shape[0]) return;
        if (tap->ids) {
            r->wrong_experts += !contains(&t, row * tap->n, tap->n, tap->ids[i]);
        } else {
            double difference = fabs((double)tap->values[i] - (double)floats(&t)[at]) / std;
            if (!(difference <= r->worst[tap->kind])) r->worst[tap->kind] = difference;
        }
    }
}

static uint32_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (uint32_t)best;
}

/* Feeds the prompt in one eval and then each generated token, comparing logits rows and tokens. */
static void replay(const moe_model *model, struct replay *r, const char *name) {
    moe_tensor_view prompt, generated, logits;
    cr_assert(moe_tensors_find(&prompt, r->dump, "prompt_ids"));
    cr_assert(moe_tensors_find(&generated, r->dump, "generated_ids"));
    cr_assert(moe_tensors_find(&logits, r->dump, "logits"));
    size_t n_prompt = prompt.shape[prompt.rank - 1], n_generated = generated.shape[generated.rank - 1];
    size_t n_rows = n_prompt + n_generated - 1, vocab = logits.shape[1];
    cr_assert_eq(logits.shape[0], n_rows);
    const moe_session_options options = {
        .context = n_rows, .max_logits = n_prompt, .tap = compare_tap, .tap_context = r};
    moe_session *session;
    cr_assert_eq(moe_session_open(&session, model, &options, &err), MOE_OK, "%s", err.message);
    moe_row *rows = calloc(n_prompt, sizeof *rows);
    double std = std_of(floats(&logits), n_rows * vocab), worst = 0;
    for (size_t at = 0; at < n_rows;) {
        size_t n = at ? 1 : n_prompt;
        for (size_t i = 0; i < n; i++)
            rows[i] =
                (moe_row){.position = (uint32_t)(at + i),
                          .token = (uint32_t)(at ? integer(&generated, at - n_prompt) : integer(&prompt, i)),
                          .logits = true};
        r->first_row = at;
        cr_assert_eq(moe_session_eval(session, rows, n, &err), MOE_OK, "%s", err.message);
        for (size_t i = 0; i < n; i++) {
            const float *ours = moe_session_logits(session, i), *theirs = floats(&logits) + (at + i) * vocab;
            for (size_t j = 0; j < vocab; j++) worst = fmax(worst, fabs((double)ours[j] - (double)theirs[j]));
        }
        at += n;
        uint32_t token = argmax(moe_session_logits(session, n - 1), vocab);
        cr_assert_eq((int64_t)token, integer(&generated, at - n_prompt), "%s: token %zu", name,
                     at - n_prompt);
    }
    cr_expect_leq(worst, tolerance * std, "%s: logits differ by %g of a std of %g", name, worst, std);
    for (size_t kind = 0; kind <= MOE_TAP_FFN_OUT; kind++)
        cr_expect_leq(r->worst[kind], tolerance, "%s: %s differs by %g std", name, tap_names[kind],
                      r->worst[kind]);
    cr_log_info("%s: logits differ by %.1e std, hidden by %.1e\n", name, worst / std,
                r->worst[MOE_TAP_HIDDEN]);
    free(rows);
    moe_session_close(session);
}

struct fixtures {
    struct fixture *list;
    size_t n, capacity;
};

static void add_fixture(struct fixtures *f, const char *name, const char *isa, moe_gemm gemm) {
    if (f->n == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 256;
        f->list = realloc(f->list, f->capacity * sizeof *f->list);
    }
    struct fixture *out = &f->list[f->n++];
    *out = (struct fixture){.gemm = gemm};
    snprintf(out->name, sizeof out->name, "%.100s", name);
    snprintf(out->isa, sizeof out->isa, "%s", isa);
}

/* Every fixture on every instruction set, and once more with OpenBLAS where the build has it. */
static struct fixtures list_fixtures(void) {
    struct fixtures f = {0};
    DIR *dir = opendir(MOE_FIXTURES "/exact");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *end = strrchr(entry->d_name, '-');
        if (entry->d_name[0] == '.' || !end || !strcmp(end, "-block")) continue;
        bool runs;
        const char *isa;
        for (size_t i = 0; (isa = moe_isa_name(i, &runs)); i++)
            if (runs) add_fixture(&f, entry->d_name, isa, MOE_GEMM_NATIVE);
        if (moe_openblas_available()) add_fixture(&f, entry->d_name, "", MOE_GEMM_OPENBLAS);
    }
    if (dir) closedir(dir);
    return f;
}

static moe_model *open_fixture(const struct fixture *f, moe_tensors **dump) {
    char path[1024];
    moe_model *model;
    const moe_model_options options = {.isa = f->gemm ? NULL : f->isa, .gemm = f->gemm};
    snprintf(path, sizeof path, MOE_FIXTURES "/exact/%s", f->name);
    cr_assert_eq(moe_model_open(&model, path, &options, &err), MOE_OK, "%s", err.message);
    snprintf(path, sizeof path, MOE_FIXTURES "/exact/%s/reference.safetensors", f->name);
    cr_assert_eq(moe_tensors_open(dump, path, &err), MOE_OK, "%s", err.message);
    return model;
}

ParameterizedTestParameters(exact, tokens) {
    const struct fixtures f = list_fixtures();
    cr_assert_gt(f.n, 0);
    struct fixture *cases = cr_malloc(f.n * sizeof *cases); /* where Criterion's workers see them */
    memcpy(cases, f.list, f.n * sizeof *cases);
    free(f.list);
    return cr_make_param_array(struct fixture, cases, f.n);
}

ParameterizedTest(struct fixture *f, exact, tokens) {
    struct replay r = {0};
    moe_model *model = open_fixture(f, &r.dump);
    replay(model, &r, f->name);
    cr_expect_eq(r.wrong_experts, 0, "%s: %zu routed experts differ", f->name, r.wrong_experts);
    cr_assert_gt(r.compared, 0, "%s: the reference has no taps", f->name);
    moe_tensors_close(r.dump);
    moe_model_close(model);
}
