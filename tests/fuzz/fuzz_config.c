/* Any bytes as config.json, and what follows from it before a tensor is read: the spec, which tensors it asks
 * for, how much memory a session would take. The input: config.json; after a byte 0xff,
 * generation_config.json; after another, 8 bytes that make up a checkpoint and 8 that size a session. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/model.h"
#include "kernels/select.h"
#include "models/source.h"
#include "models/spec_read.h"
#include "tests/fuzz/fuzz.h"

/* ---- a spec may be believed --------------------------------------------------------------------------- */

static void check_real(float x) {
    FUZZ_CHECK(isfinite(x));
}

static void check_frequencies(const struct moe_rope_spec *rope, size_t head_dim) {
    FUZZ_CHECK(rope->n_pairs > 0 && 2 * rope->n_pairs <= head_dim && rope->inv_freq);
    for (size_t i = 0; i < rope->n_pairs; i++) check_real(rope->inv_freq[i]);
    for (size_t i = 0; rope->long_inv_freq && i < rope->n_pairs; i++) check_real(rope->long_inv_freq[i]);
    check_real(rope->attention);
    check_real(rope->long_attention);
    float *out = malloc(rope->n_pairs * sizeof *out);
    FUZZ_CHECK(out != NULL);
    const size_t lengths[] = {1, rope->long_after + 1, rope->dynamic_after + 1, 1 << 28};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        check_real(moe_rope_frequencies(out, rope, lengths[l]));
        for (size_t i = 0; i < rope->n_pairs; i++) check_real(out[i]);
    }
    free(out);
}

static void check_layer(const struct moe_spec *s, const struct moe_layer_spec *layer) {
    FUZZ_CHECK(layer->dense || layer->routed);
    FUZZ_CHECK(!layer->dense || s->dense_width > 0);
    FUZZ_CHECK(layer->n_kv_heads > 0 && layer->n_kv_heads <= s->n_kv_heads && layer->n_heads <= s->n_heads);
    FUZZ_CHECK(layer->n_heads > 0 && layer->n_heads % layer->n_kv_heads == 0);
    FUZZ_CHECK(layer->top_k > 0 && layer->top_k <= s->top_k);
    FUZZ_CHECK(!layer->grows || s->growth.length > 0);
    if (layer->rope != MOE_NO_ROPE) FUZZ_CHECK(layer->rope < s->n_ropes && s->ropes[layer->rope].n_pairs > 0);
}

static void check_spec(const struct moe_spec *s) {
    FUZZ_CHECK(s->family && s->layers);
    FUZZ_CHECK(s->n_layers > 0 && s->n_layers <= MOE_MAX_LAYERS);
    FUZZ_CHECK(s->vocab_size > 0 && s->vocab_size <= MOE_MAX_VOCAB);
    FUZZ_CHECK(s->hidden_size > 0 && s->hidden_size <= MOE_MAX_SIZE);
    FUZZ_CHECK(s->n_heads > 0 && s->n_kv_heads > 0 && s->sublayers > 0 && s->n_layers % s->sublayers == 0);
    FUZZ_CHECK(s->n_experts > 0 && s->n_experts <= MOE_MAX_SIZE && s->router.n_choices >= s->n_experts);
    FUZZ_CHECK(s->top_k > 0 && s->top_k <= s->router.n_choices);
    FUZZ_CHECK(s->router.n_groups > 0 && s->router.n_choices % s->router.n_groups == 0);
    FUZZ_CHECK(s->router.top_groups > 0 && s->router.top_groups <= s->router.n_groups);
    FUZZ_CHECK(s->top_k <= s->router.n_choices / s->router.n_groups * s->router.top_groups);
    FUZZ_CHECK(s->router.score != MOE_SCORE_BY_KEY && s->norm != MOE_NORM_BY_KEY);
    FUZZ_CHECK(s->expert_width > 0 && s->expert_width <= MOE_MAX_SIZE && s->shared_width <= MOE_MAX_SIZE);
    FUZZ_CHECK(s->value_dim > 0 && s->head_dim > 0);
    const float positive[] = {s->norm_eps,       s->attention_scale, s->value_scale,       s->embed_scale,
                              s->residual_scale, s->logits_scale,    s->router.norm_power, s->router.scale};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        FUZZ_CHECK(isfinite(positive[i]) && positive[i] > 0);
    const float reals[] = {s->router.sum_min, s->router.closeness, s->router.soft_cap, s->swiglu_alpha,
                           s->swiglu_limit,   s->clip_qkv,         s->growth.factor,   s->growth.length};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) FUZZ_CHECK(isfinite(reals[i]) && reals[i] >= 0);
    for (size_t l = 0; l < s->n_layers; l++) check_layer(s, &s->layers[l]);
    for (size_t i = 0; i < s->n_steps; i++) FUZZ_CHECK(s->steps[i].layer < s->n_layers);
    for (size_t i = 0; i < s->n_ropes; i++)
        if (s->ropes[i].n_pairs)
            check_frequencies(&s->ropes[i], s->latent.kv_rank ? s->latent.rope_dim : s->head_dim);
}

/* ---- which tensors it asks for ------------------------------------------------------------------------ */

enum { MOST_BYTES = 1 << 20, MOST_TENSORS = 400 };

/* A checkpoint in which a tensor is or is not, and has one dtype or another, as a hash says of its name
 * without numbers. It ends after so many tensors or bytes: nothing new follows. */
struct made_up {
    uint64_t seed;
    size_t n_tensors, n_bytes;
};

static uint64_t hash_name(const struct made_up *m, const char *name) {
    char plain[512];
    size_t n = 0;
    for (; *name && n < sizeof plain; name++)
        if (*name < '0' || *name > '9') plain[n++] = *name;
    return XXH3_64bits_withSeed(plain, n, m->seed);
}

static bool made_up_has(void *context, enum moe_dtype *dtype, const char *name) {
    static const enum moe_dtype dtypes[] = {MOE_DTYPE_BF16, MOE_DTYPE_F32,     MOE_DTYPE_F16, MOE_DTYPE_BF16,
                                            MOE_DTYPE_F32,  MOE_DTYPE_F8_E4M3, MOE_DTYPE_U32, MOE_DTYPE_U8};
    uint64_t hash = hash_name(context, name);
    if (dtype) *dtype = dtypes[hash % 8];
    return hash >> 8 & 1;
}

static moe_status made_up_get(void *context, struct moe_source_tensor *out, const char *name,
                              const size_t *shape, size_t rank, uint32_t dtypes, moe_error *err) {
    static unsigned char zeros[MOST_BYTES];
    struct made_up *m = context;
    size_t bits;
    FUZZ_CHECK(rank > 0 && rank <= MOE_MAX_RANK && strlen(name) > 0);
    *out = (struct moe_source_tensor){.data = zeros, .file = "made-up"};
    if (!made_up_has(m, &out->dtype, name)) return MOE_FAIL(err, MOE_E_FORMAT, "tensor %s: missing", name);
    if (!(dtypes >> out->dtype & 1)) return MOE_FAIL(err, MOE_E_UNSUPPORTED, "tensor %s: dtype", name);
    bool overflow = shape[0] == MOE_ANY_SIZE;
    bits = moe_dtype_bits(out->dtype);
    for (size_t i = 0; i < rank; i++) overflow |= __builtin_mul_overflow(bits, shape[i], &bits);
    out->n_bytes = bits / 8;
    m->n_bytes += rank == 1 ? out->n_bytes : 0; /* these are read; of a matrix nothing is */
    if (overflow || bits >> 47 || m->n_bytes > MOST_BYTES || ++m->n_tensors > MOST_TENSORS)
        return MOE_FAIL(err, MOE_E_FORMAT, "tensor %s: too large", name);
    return MOE_OK;
}

static moe_status see_tensor(void *context, const struct moe_listed_tensor *t, moe_error *err) {
    (void)context;
    (void)err;
    FUZZ_CHECK(t->rows > 0 && t->cols > 0 && strlen(t->name) > 0 && t->matrices);
    return MOE_OK;
}

static void check_tensors(const struct moe_spec *spec, uint64_t seed) {
    struct made_up made_up = {.seed = seed};
    const struct moe_source source = {.context = &made_up, .has = made_up_has, .get = made_up_get};
    const struct moe_weights_list list = {.matrix = see_tensor, .vector = see_tensor};
    struct moe_weights weights;
    moe_error err = fuzz_error();
    fuzz_succeeded(moe_weights_list(&weights, &list, spec, &source, &err), &err);
    moe_weights_free(&weights);
}

/* ---- what a session would take ------------------------------------------------------------------------ */

struct sizes {
    uint32_t context;
    uint8_t n_sequences, max_rows, max_logits, tap;
};

static void ignore_tap(void *context, const moe_tap *tap) {
    (void)context;
    (void)tap;
}

/* More positions never take less; what does not fit an address is an error. */
static void check_memory(struct moe_model *model, struct sizes sizes) {
    size_t bytes = 0, more = 0;
    moe_error err = fuzz_error();
    moe_session_options options = {.n_sequences = sizes.n_sequences,
                                   .context = sizes.context,
                                   .max_rows = sizes.max_rows,
                                   .max_logits = sizes.max_logits,
                                   .n_threads = 1,
                                   .tap = sizes.tap & 1 ? ignore_tap : NULL};
    bool fits = fuzz_succeeded(moe_session_measure(&bytes, model, &options, &err), &err);
    FUZZ_CHECK(fits == (bytes > 0));
    if (!fits) return;
    options.context++;
    err = fuzz_error();
    if (fuzz_succeeded(moe_session_measure(&more, model, &options, &err), &err)) FUZZ_CHECK(more >= bytes);
}

/* ---- the input ---------------------------------------------------------------------------------------- */

/* Resolves the text by itself; returns whether that succeeds, else what it says is in *err. */
static bool resolve(const char *path, struct fuzz_bytes text, uint64_t seed, struct sizes sizes,
                    moe_error *err) {
    struct moe_json doc;
    struct moe_model model = {0};
    if (!fuzz_succeeded(moe_json_parse(&doc, path, (const char *)text.data, text.n, err), err)) return false;
    bool fine = fuzz_succeeded(moe_spec_resolve(&model.spec, moe_json_root(&doc), err), err);
    FUZZ_CHECK(fine || !model.spec.layers);
    moe_json_close(&doc);
    if (!fine) return false;
    check_spec(&model.spec);
    check_tensors(&model.spec, seed);
    moe_kernels_select(&model.kernels, MOE_ISA_scalar);
    check_memory(&model, sizes);
    moe_spec_free(&model.spec);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct fuzz_file config, generation;
    struct fuzz_bytes rest = {data, n};
    const moe_model_options options = {.isa = "scalar"}; /* the others take some CPUID each, slow in a VM */
    moe_model *model = (void *)&model;
    moe_error err = fuzz_error(), opened = fuzz_error();
    uint64_t seed;
    struct sizes sizes;
    if (!*config.path) {
        fuzz_file_create(&config, "config.json");
        fuzz_file_create(&generation, "generation_config.json");
    }
    struct fuzz_bytes text = fuzz_part(&rest), other = fuzz_part(&rest);
    fuzz_take(&seed, sizeof seed, &rest);
    fuzz_take(&sizes, sizeof sizes, &rest);
    bool fine = resolve(config.path, text, seed, sizes, &err);
    fuzz_file_set(&config, text.data, text.n);
    fuzz_file_set(&generation, other.data, other.n);
    /* there are no weights beside it */
    moe_status status = moe_model_open(&model, fuzz_folder(), &options, &opened);
    FUZZ_CHECK(!fuzz_opened(status, model, &opened));
    FUZZ_CHECK(strncmp(opened.message, fuzz_folder(), strlen(fuzz_folder())) == 0);
    FUZZ_CHECK(fine || strcmp(err.message, opened.message) == 0);
    return 0;
}
