/* Random weights: each format binds through models/storage.h to matrices of that format whose weights are as
 * large as those of a model. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/convert.h"
#include "models/storage.h"
#include "models/synthetic.h"
#include "models/synthetic_format.h"

static moe_error err;

struct bed {
    struct moe_synthetic *synthetic;
    struct moe_quantization quantization;
    struct moe_source source;
    struct moe_storage storage;
};

static void open_bed(struct bed *b, const char *format, uint64_t seed) {
    static const char config[] = "{\"quantization\": {\"group_size\": 32, \"bits\": 3}}"; /* is overruled */
    struct moe_json doc;
    cr_assert_eq(moe_json_parse(&doc, "config.json", config, sizeof config - 1, &err), MOE_OK);
    cr_assert_eq(moe_quantization_read(&b->quantization, moe_json_root(&doc), &err), MOE_OK);
    moe_json_close(&doc);
    cr_assert_eq(moe_synthetic_open(&b->synthetic, format, seed, &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_synthetic_describe(b->synthetic, &b->quantization, &err), MOE_OK, "%s", err.message);
    b->source = moe_source_synthetic(b->synthetic);
    b->storage = (struct moe_storage){.source = &b->source, .quantization = &b->quantization};
}

static void close_bed(struct bed *b) {
    moe_quantization_free(&b->quantization);
    moe_synthetic_close(b->synthetic);
}

enum { EXPERTS = 2, ROWS = 256, COLS = 320 };

/* Bound but not drawn yet. */
static void get(struct bed *b, struct moe_matrix *out, const char *name, size_t n_stacked) {
    cr_assert_eq(moe_storage_get(out, &b->storage, name, n_stacked, ROWS, COLS, &err), MOE_OK, "%s",
                 err.message);
}

static void expect_normal(const struct moe_matrix *w, const char *what) {
    double sum = 0, squares = 0;
    float row[COLS];
    for (size_t r = 0; r < w->rows; r++) {
        moe_matrix_widen(row, w, r);
        for (size_t c = 0; c < w->cols; c++) {
            cr_assert(isfinite(row[c]), "%s: %zu, %zu", what, r, c);
            sum += row[c];
            squares += (double)row[c] * row[c];
        }
    }
    const double n = (double)(w->rows * w->cols), deviation = sqrt(squares / n);
    cr_expect(fabs(sum / n) < 0.002, "%s: mean %g", what, sum / n);
    cr_expect(deviation > 0.015 && deviation < 0.025, "%s: deviation %g", what, deviation);
}

static const struct {
    const char *name;
    enum moe_format expert, attention, embed, router;
} cases[] = {
#define MLX(bits)                                                                                            \
    {                                                                                                        \
        "affine" #bits, MOE_FORMAT_AFFINE##bits, MOE_FORMAT_AFFINE##bits, MOE_FORMAT_AFFINE##bits,           \
            MOE_FORMAT_BF16                                                                                  \
    }
    {"bf16", MOE_FORMAT_BF16, MOE_FORMAT_BF16, MOE_FORMAT_BF16, MOE_FORMAT_BF16},
    {"f16", MOE_FORMAT_F16, MOE_FORMAT_F16, MOE_FORMAT_F16, MOE_FORMAT_F16},
    {"f32", MOE_FORMAT_F32, MOE_FORMAT_F32, MOE_FORMAT_F32, MOE_FORMAT_F32},
    {"fp8", MOE_FORMAT_FP8, MOE_FORMAT_FP8, MOE_FORMAT_BF16, MOE_FORMAT_BF16},
    {"mxfp4", MOE_FORMAT_MXFP4, MOE_FORMAT_BF16, MOE_FORMAT_BF16, MOE_FORMAT_BF16},
    MLX(2),
    MLX(3),
    MLX(4),
    MLX(5),
    MLX(6),
    MLX(8),
};

Test(synthetic, every_format) {
    size_t n = 0;
    for (; moe_synthetic_format_at(n); n++) {
        cr_assert_lt(n, sizeof cases / sizeof *cases);
        cr_assert_str_eq(moe_synthetic_format_at(n)->name, cases[n].name);
        struct bed b;
        struct moe_matrix expert[EXPERTS], attention, embed, router;
        open_bed(&b, cases[n].name, 1);
        const bool fused = moe_storage_has(&b.storage, "model.layers.0.mlp.experts.gate_up_proj");
        cr_expect_eq(fused, cases[n].expert == MOE_FORMAT_MXFP4, "%s", cases[n].name);
        cr_expect_not(moe_storage_has(&b.storage, "model.layers.0.mlp.switch_mlp.up_proj.weight"));
        if (fused)
            get(&b, expert, "model.layers.0.mlp.experts.gate_up_proj", EXPERTS);
        else
            get(&b, expert, "model.layers.0.mlp.experts.0.up_proj.weight", 0);
        get(&b, &attention, "model.layers.0.self_attn.q_proj.weight", 0);
        get(&b, &embed, "model.embed_tokens.weight", 0);
        get(&b, &router, "model.layers.0.mlp.gate.weight", 0);
        moe_synthetic_draw(b.synthetic);
        cr_expect(expert->format == cases[n].expert && attention.format == cases[n].attention, "%s",
                  cases[n].name);
        cr_expect(embed.format == cases[n].embed && router.format == cases[n].router, "%s", cases[n].name);
        if (fused) expect_normal(&expert[EXPERTS - 1], cases[n].name);
        expect_normal(expert, cases[n].name);
        expect_normal(&attention, cases[n].name);
        expect_normal(&embed, cases[n].name);
        expect_normal(&router, cases[n].name);
        close_bed(&b);
    }
    cr_expect_eq(n, sizeof cases / sizeof *cases);
}

/* The seed decides every code, and nothing else does. */
Test(synthetic, seeds) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bed b[3];
        struct moe_matrix w[3];
        for (size_t j = 0; j < 3; j++) {
            open_bed(&b[j], cases[i].name, j == 2 ? 8 : 7);
            get(&b[j], &w[j], "model.layers.0.mlp.experts.0.up_proj.weight", 0);
            moe_synthetic_draw(b[j].synthetic);
        }
        const size_t bytes = ROWS * w[0].row_bytes;
        cr_expect_eq(memcmp(w[0].data, w[1].data, bytes), 0, "%s", cases[i].name);
        cr_expect_neq(memcmp(w[0].data, w[2].data, bytes), 0, "%s", cases[i].name);
        for (size_t j = 0; j < 3; j++) close_bed(&b[j]);
    }
}

Test(synthetic, unknown_format) {
    struct moe_synthetic *s;
    cr_expect_eq(moe_synthetic_open(&s, "q4_k", 1, &err), MOE_E_ARGUMENT);
    cr_expect_null(s);
    cr_expect(strstr(err.message, "q4_k"));
}
