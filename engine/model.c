/* Opens a model: config.json -> family -> spec -> weights -> kernels. */
#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/select.h"
#include "loader/file.h"
#include "loader/json.h"
#include "models/synthetic_format.h"

enum { MAX_PATH = 4096 };

/* Token ids of key (one, a list, or null) into model->eos. */
static moe_status read_eos(struct moe_model *m, struct moe_json_value config, moe_error *err) {
    struct moe_json_value v = moe_json_get(config, "eos_token_id"), item;
    struct moe_json_iterator it = {0};
    m->info.n_eos = 0;
    if (!v.node) return MOE_OK;
    if (!moe_json_is_array(v)) {
        MOE_TRY(moe_json_int(&m->eos[0], v, 0, INT32_MAX, err));
        m->info.n_eos = 1;
        return MOE_OK;
    }
    while (moe_json_next(&it, v, NULL, &item)) {
        if (m->info.n_eos == MOE_MAX_EOS)
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: more than %d ids", v.doc->file, v.path,
                            MOE_MAX_EOS);
        MOE_TRY(moe_json_int(&m->eos[m->info.n_eos++], item, 0, INT32_MAX, err));
    }
    return MOE_OK;
}

/* generation_config.json overrides config.json; it need not be there. */
static moe_status read_generation_config(struct moe_model *m, const char *dir, moe_error *err) {
    char path[MAX_PATH];
    struct stat st;
    struct moe_json doc;
    if (snprintf(path, sizeof path, "%s/generation_config.json", dir) >= MAX_PATH || stat(path, &st))
        return MOE_OK;
    MOE_TRY(moe_json_open(&doc, path, MOE_MAX_CONFIG_BYTES, err));
    struct moe_json_value root = moe_json_root(&doc);
    moe_status status = moe_json_get(root, "eos_token_id").node ? read_eos(m, root, err) : MOE_OK;
    moe_json_close(&doc);
    return status;
}

static moe_status read_bos(struct moe_model *m, struct moe_json_value config, moe_error *err) {
    struct moe_json_value v = moe_json_get(config, "bos_token_id");
    m->info.bos = -1;
    return v.node ? moe_json_int(&m->info.bos, v, 0, INT32_MAX, err) : MOE_OK;
}

static moe_status read_config(struct moe_model *m, const char *path, moe_error *err) {
    struct moe_json doc;
    MOE_TRY(moe_json_open(&doc, path, MOE_MAX_CONFIG_BYTES, err));
    struct moe_json_value root = moe_json_root(&doc);
    moe_status status = moe_spec_resolve(&m->spec, root, err);
    const struct moe_json_value text = moe_spec_text_config(root);
    if (status == MOE_OK) status = read_eos(m, text, err);
    if (status == MOE_OK) status = read_bos(m, text, err);
    moe_json_close(&doc);
    return status;
}

const char *moe_model_storage(const struct moe_model *m) {
    for (size_t l = 0; l < m->spec.n_layers; l++)
        if (m->spec.layers[l].routed) return moe_format_name(m->weights.layers[l].experts[0].gate.w.format);
    return moe_format_name(m->weights.layers[0].dense.gate.w.format);
}

static moe_status choose_kernels(struct moe_model *m, const moe_model_options *opt, moe_error *err) {
    enum moe_isa isa;
    MOE_TRY(moe_isa_select(&isa, opt->isa, err));
    moe_kernels_select(&m->kernels, isa);
    m->uses_openblas = opt->gemm == MOE_GEMM_OPENBLAS;
    if (m->uses_openblas && opt->precision == MOE_PRECISION_BF16)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "precision bf16: native GEMM only");
    if (m->uses_openblas) MOE_TRY(moe_openblas_open(&m->openblas, err));
    m->info.precision = opt->precision == MOE_PRECISION_BF16 ? "bf16" : "fp32";
    m->info.isa = moe_isa_get_name(isa);
    m->info.gemm = m->uses_openblas ? moe_openblas_name() : "native";
    return MOE_OK;
}

static moe_status repack_weights(struct moe_model *m, const moe_model_options *opt, moe_error *err) {
    const struct moe_repack_options options = {.packs = opt->weights == MOE_WEIGHTS_PACKED,
                                               .is_synthetic = opt->synthetic,
                                               .n_threads =
                                                   opt->n_threads ? opt->n_threads : moe_physical_cores(),
                                               .progress = opt->progress,
                                               .context = opt->context};
    MOE_TRY(moe_repack(&m->repacked, &m->weights, &m->spec, &options, err));
    return m->checkpoint ? moe_checkpoint_check(m->checkpoint, err) : MOE_OK;
}

static moe_status bind_weights(struct moe_model *m, const char *dir, const moe_model_options *opt,
                               moe_error *err) {
    const struct moe_weights_progress progress = {opt->progress, opt->context};
    struct moe_source source;
    if (opt->synthetic) {
        MOE_TRY(moe_synthetic_open(&m->synthetic, opt->format, opt->seed, err));
        MOE_TRY(moe_synthetic_describe(m->synthetic, &m->spec.quantization, err));
        source = moe_source_synthetic(m->synthetic);
    } else {
        MOE_TRY(moe_checkpoint_open(&m->checkpoint, dir, err));
        source = moe_source_checkpoint(m->checkpoint);
    }
    MOE_TRY(moe_weights_bind(&m->weights, &m->spec, &source, &progress, err));
    if (m->synthetic) moe_synthetic_draw(m->synthetic);
    return opt->weights == MOE_WEIGHTS_MAPPED ? MOE_OK : repack_weights(m, opt, err);
}

moe_status moe_model_choose_precision(struct moe_model *m, const moe_model_options *opt, moe_error *err) {
    if (opt->precision == MOE_PRECISION_FP32 || moe_weights_round_activations(&m->weights, &m->spec))
        return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                    "precision bf16: this model has no weights in BF16, which alone it is for");
}

void moe_model_fill_info(struct moe_model *m) {
    const struct moe_spec *s = &m->spec;
    m->info.family = s->family->model_type;
    m->info.n_layers = s->n_layers / s->sublayers;
    m->info.hidden_size = s->hidden_size;
    m->info.vocab_size = s->vocab_size;
    m->info.n_experts = s->n_experts;
    m->info.n_choices = s->router.n_choices;
    m->info.top_k = s->top_k;
    m->info.max_positions = s->max_positions;
    m->info.n_parameters = m->weights.n_parameters;
    m->info.weight_bytes = m->weights.n_bytes;
    m->info.eos = m->eos;
}

moe_status moe_model_read(struct moe_model *m, const char *path, const char *dir, bool is_config,
                          const moe_model_options *opt, moe_error *err) {
    char config[MAX_PATH];
    if (snprintf(config, sizeof config, is_config ? "%s" : "%s/config.json", is_config ? path : dir) >=
        MAX_PATH)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "%.200s: path too long", path);
    MOE_TRY(choose_kernels(m, opt, err));
    MOE_TRY(read_config(m, config, err));
    return is_config ? MOE_OK : read_generation_config(m, dir, err);
}

static moe_status open_files(struct moe_model *m, const char *path, const char *dir, bool is_config,
                             const moe_model_options *opt, moe_error *err) {
    MOE_TRY(moe_model_read(m, path, dir, is_config, opt, err));
    MOE_TRY(bind_weights(m, path, opt, err));
    moe_model_fill_info(m);
    m->info.storage = moe_model_storage(m);
    return moe_model_choose_precision(m, opt, err);
}

static moe_status open_model(struct moe_model *m, const char *path, const moe_model_options *opt,
                             moe_error *err) {
    char *dir;
    struct stat st;
    bool is_config = opt->synthetic && !stat(path, &st) && S_ISREG(st.st_mode);
    MOE_TRY(moe_file_directory(&dir, path, err));
    moe_status status = open_files(m, path, dir, is_config, opt, err);
    free(dir);
    return status;
}

moe_status moe_model_open(moe_model **out, const char *path, const moe_model_options *opt, moe_error *err) {
    static const moe_model_options defaults = {0};
    struct moe_model *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    moe_status status = open_model(m, path, opt ? opt : &defaults, err);
    if (status != MOE_OK)
        moe_model_close(m);
    else
        *out = m;
    return status;
}

void moe_model_close(moe_model *m) {
    if (!m) return;
    moe_weights_free(&m->weights);
    moe_repacked_free(&m->repacked);
    moe_spec_free(&m->spec);
    moe_checkpoint_close(m->checkpoint);
    moe_synthetic_close(m->synthetic);
    free(m);
}

const moe_model_info *moe_model_get_info(const moe_model *m) {
    return &m->info;
}

size_t moe_model_top_k(const moe_model *m, size_t layer) {
    return m->spec.layers[layer * m->spec.sublayers].top_k;
}

const char *moe_version(void) {
    return MOE_VERSION;
}

const char *moe_isa_name(size_t i, bool *runs_here) {
    if (i >= MOE_ISA_COUNT) return NULL;
    if (runs_here) *runs_here = moe_isa_runs_here((enum moe_isa)i);
    return moe_isa_get_name((enum moe_isa)i);
}

const char *moe_synthetic_format_name(size_t i) {
    const struct moe_synthetic_format *f = moe_synthetic_format_at(i);
    return f ? f->name : NULL;
}

void moe_free(void *p) {
    free(p);
}
