/* Values that are not finite, planted in every storage format: each is found where it is, and counted once.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copies.h"
#include "engine/moe.h"
#include "tests/loader/files.h"

TestSuite(check_values, .init = files_begin, .fini = files_end);

static moe_error err;

struct expected {
    const char *name, *format;
    uint64_t n_nan, n_infinite;
};

static void expect_tensors(const moe_check_report *r, const struct expected *e, size_t n, const char *what) {
    uint64_t n_nan = 0, n_infinite = 0;
    cr_assert_eq(r->n_tainted, n, "%s: %zu tensors", what, r->n_tainted);
    cr_assert_eq(r->n_tensors_listed, n);
    for (size_t i = 0; i < n; i++) {
        const moe_check_tensor *t = &r->tensors[i];
        cr_expect_str_eq(t->name, e[i].name);
        cr_expect_str_eq(t->format, e[i].format);
        cr_expect(t->n_nan == e[i].n_nan && t->n_infinite == e[i].n_infinite,
                  "%s: %s: %zu NaN, %zu infinite, expected %zu, %zu", what, t->name, (size_t)t->n_nan,
                  (size_t)t->n_infinite, (size_t)e[i].n_nan, (size_t)e[i].n_infinite);
        cr_expect_lt(t->n_nan + t->n_infinite, t->n_values);
        n_nan += e[i].n_nan;
        n_infinite += e[i].n_infinite;
    }
    cr_expect(r->n_nan == n_nan && r->n_infinite == n_infinite);
}

/* With every instruction set and several numbers of threads. */
static void expect(const struct expected *e, size_t n) {
    const char *isa;
    bool runs;
    for (size_t i = 0; (isa = moe_isa_name(i, &runs)); i++)
        for (size_t n_threads = 1; runs && n_threads <= 3; n_threads++) {
            const moe_check_options options = {.model = {.isa = isa, .n_threads = n_threads}};
            moe_check *c;
            cr_assert_eq(moe_check_open(&c, files_path(""), &options, &err), MOE_OK, "%s", err.message);
            const moe_check_report *r = moe_check_get_report(c);
            cr_expect(r->n_faults == 0 && r->n_values == 0 && r->n_tainted == 0);
            for (int twice = 0; twice < 2; twice++) {
                cr_assert_eq(moe_check_values(c, &err), MOE_OK, "%s", err.message);
                cr_expect_eq(r->n_values, r->model->n_parameters);
                expect_tensors(r, e, n, isa);
            }
            moe_check_close(c);
        }
}

#define PLANT(tensor, at, ...)                                                                               \
    copies_plant((tensor), (at), (const unsigned char[]){__VA_ARGS__},                                       \
                 sizeof(const unsigned char[]){__VA_ARGS__})

#define LAYER "model.layers.0."

/* First, last, and between; NaN of either sign, quiet and not; both infinities; the largest numbers are none.
 */
Test(check_values, plain) {
    copies_make("olmoe-mixed");
    PLANT(LAYER "self_attn.v_proj.weight", 0, 0, 0, 0xc0, 0x7f);         /* F32 */
    PLANT(LAYER "self_attn.v_proj.weight", 400, 0xff, 0xff, 0x7f, 0x7f); /* the largest */
    PLANT(LAYER "self_attn.v_proj.weight", 404, 0xff, 0xff, 0x7f, 0xff); /* and its negative */
    PLANT(LAYER "self_attn.v_proj.weight", 2000, 0, 0, 0x80, 0xff);      /* -infinity */
    PLANT(LAYER "self_attn.v_proj.weight", -4, 1, 0, 0x80, 0x7f);        /* a signalling NaN */
    PLANT(LAYER "self_attn.k_proj.weight", 0, 0x80, 0x7f);               /* BF16: infinity */
    PLANT(LAYER "self_attn.k_proj.weight", 2, 0x7f, 0x7f);
    PLANT(LAYER "self_attn.k_proj.weight", 60, 0x81, 0xff);
    PLANT(LAYER "self_attn.k_proj.weight", -2, 0xff, 0xff);
    PLANT(LAYER "self_attn.k_norm.weight", 0, 0, 0x7c); /* F16, a vector: infinity */
    PLANT(LAYER "self_attn.k_norm.weight", 2, 0xff, 0x7b);
    PLANT(LAYER "self_attn.k_norm.weight", -2, 0, 0xfe);
    expect((const struct expected[]){{LAYER "self_attn.k_proj.weight", "BF16", 2, 1},
                                     {LAYER "self_attn.v_proj.weight", "F32", 2, 1},
                                     {LAYER "self_attn.k_norm.weight", "F16", 1, 1}},
           3);
}

/* Codes have a NaN, and a scale is that of a block. kv_b is bound in parts, but looked at whole. */
Test(check_values, fp8) {
    size_t n, n_zero = 0;
    copies_make("deepseek_v3-fp8");
    PLANT(LAYER "self_attn.kv_b_proj.weight", 0, 0x7f);
    PLANT(LAYER "self_attn.kv_b_proj.weight", 1, 0x7e);
    PLANT(LAYER "self_attn.kv_b_proj.weight", -1, 0xff);
    PLANT(LAYER "self_attn.q_a_proj.weight_scale_inv", 4, 0, 0, 0xc0, 0x7f);      /* columns 128 to 131 */
    PLANT(LAYER "mlp.experts.3.down_proj.weight_scale_inv", 0, 0, 0, 0x80, 0x7f); /* rows 0 to 127 */
    unsigned char *codes = copies_read(LAYER "mlp.experts.3.down_proj.weight", &n);
    cr_assert_eq(n, 132 * 40);
    for (size_t i = 0; i < 128 * 40; i++) n_zero += (codes[i] & 0x7f) == 0;
    free(codes);
    expect(
        (const struct expected[]){{LAYER "self_attn.q_a_proj.weight", "FP8", 24 * 4, 0},
                                  {LAYER "self_attn.kv_b_proj.weight", "FP8", 2, 0},
                                  {LAYER "mlp.experts.3.down_proj.weight", "FP8", n_zero, 128 * 40 - n_zero}},
        3);
}

/* Under scale 255 all but 0 and 0.5 is infinite; 32 neighbours have a scale. */
static uint64_t count_large(const char *blocks, long group) {
    size_t n;
    uint64_t n_large = 0;
    unsigned char *codes = copies_read(blocks, &n);
    for (size_t i = 0; i < 16; i++) {
        const unsigned char c = codes[(group < 0 ? n : 0) + (size_t)(16 * group) + i];
        n_large += (c & 7) > 1;
        n_large += (c >> 4 & 7) > 1;
    }
    free(codes);
    return n_large;
}

Test(check_values, mxfp4) {
    copies_make("gpt_oss-mxfp4");
    PLANT(LAYER "mlp.experts.gate_up_proj_scales", 0, 0xff);
    PLANT(LAYER "mlp.experts.gate_up_proj_scales", -1, 0xff);
    PLANT(LAYER "mlp.experts.gate_up_proj_bias", -2, 0x80, 0xff);
    PLANT("model.layers.1.mlp.experts.down_proj_scales", 5, 0xff);
    uint64_t first = count_large(LAYER "mlp.experts.gate_up_proj_blocks", 0);
    uint64_t last = count_large(LAYER "mlp.experts.gate_up_proj_blocks", -1);
    uint64_t sixth = count_large("model.layers.1.mlp.experts.down_proj_blocks", 5);
    cr_assert(first > 0 && last > 0 && sixth > 0);
    expect((const struct expected[]){{LAYER "mlp.experts.gate_up_proj", "MXFP4", 0, first + last},
                                     {LAYER "mlp.experts.gate_up_proj_bias", "BF16", 0, 1},
                                     {"model.layers.1.mlp.experts.down_proj", "MXFP4", 0, sixth}},
           3);
}

/* A scale or bias is that of 64 neighbours; infinity times code 0 is NaN. */
Test(check_values, affine) {
    size_t n, n_zero = 0;
    copies_make("qwen3_moe-mlx4-g64");
    PLANT(LAYER "self_attn.q_proj.scales", 0, 0xc0, 0x7f);
    PLANT(LAYER "self_attn.q_proj.biases", -2, 0x80, 0x7f);
    PLANT(LAYER "mlp.switch_mlp.up_proj.scales", -2, 0x80, 0xff); /* of the last expert's last row */
    unsigned char *codes = copies_read(LAYER "mlp.switch_mlp.up_proj.weight", &n);
    for (size_t i = 2 * (n - 32); i < 2 * n; i++) n_zero += (codes[i / 2] >> (i % 2 * 4) & 15) == 0;
    free(codes);
    expect((const struct expected[]){{LAYER "self_attn.q_proj.weight", "affine 4-bit", 64, 64},
                                     {LAYER "mlp.switch_mlp.up_proj.weight", "affine 4-bit", n_zero,
                                      64 - n_zero}},
           2);
}

/* Packing keeps the bits, in codes and in escapes. */
Test(check_values, packed) {
    moe_pack_report report;
    char place[512];
    copies_make("olmoe-default");
    PLANT(LAYER "self_attn.q_proj.weight", 0, 0xc0, 0x7f);
    PLANT(LAYER "self_attn.q_proj.weight", -2, 0x80, 0xff);
    PLANT(LAYER "self_attn.k_norm.weight", -2, 0x80, 0xff);
    for (long at = 0; at < 128; at += 2) PLANT(LAYER "self_attn.o_proj.weight", at, 0xc0, 0x7f);
    snprintf(place, sizeof place, "%s", files_path("packed.safetensors"));
    cr_assert_eq(moe_pack_checkpoint(&report, files_path("model.safetensors"), place, NULL, &err), MOE_OK,
                 "%s", err.message);
    cr_assert_eq(rename(place, files_path("model.safetensors")), 0);
    expect((const struct expected[]){{LAYER "self_attn.q_proj.weight", "packed BF16", 1, 1},
                                     {LAYER "self_attn.k_norm.weight", "BF16", 0, 1},
                                     {LAYER "self_attn.o_proj.weight", "packed BF16", 64, 0}},
           3);
}

/* Large enough to be looked at in several runs, and in rows that are not its own. */
Test(check_values, a_large_tensor) {
    static const size_t places[] = {
        0, 255, 256, 4095, 4096, (1 << 19) - 1, 1 << 19, (1 << 19) + 4095, 4096 * 256 - 1};
    static const char *const files[] = {"config.json", "model.safetensors"};
    enum { N_PLACES = sizeof places / sizeof *places };
    for (size_t i = 0; i < 2; i++) {
        char from[512];
        size_t n = 0;
        snprintf(from, sizeof from, MOE_SOURCE_DIR "/models/storyteller/%s", files[i]);
        FILE *f = fopen(from, "rb");
        char *bytes = malloc(32 << 20);
        cr_assert(f && bytes && (n = fread(bytes, 1, 32 << 20, f)) > 0);
        fclose(f);
        files_write(files[i], bytes, n);
        free(bytes);
    }
    size_t n;
    free(copies_read("model.embed_tokens.weight", &n));
    cr_assert_eq(n, 2 * 4096 * 256);
    for (size_t i = 0; i < N_PLACES; i++) PLANT("model.embed_tokens.weight", 2 * (long)places[i], 0xc0, 0xff);
    expect((const struct expected[]){{"model.embed_tokens.weight", "BF16", N_PLACES, 0}}, 1);
}

/* What is listed ends, what is counted does not. */
Test(check_values, more_than_are_listed) {
    moe_check *c;
    const moe_check_options options = {.max_listed = 2};
    copies_make("olmoe-default");
    PLANT(LAYER "self_attn.q_norm.weight", 0, 0x80, 0x7f);
    PLANT(LAYER "self_attn.k_norm.weight", 0, 0x80, 0x7f);
    PLANT("model.norm.weight", 0, 0xc0, 0x7f);
    cr_assert_eq(moe_check_open(&c, files_path(""), &options, &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_check_values(c, &err), MOE_OK);
    const moe_check_report *r = moe_check_get_report(c);
    cr_expect(r->n_tainted == 3 && r->n_tensors_listed == 2 && r->n_nan == 1 && r->n_infinite == 2);
    moe_check_close(c);
}

struct asked {
    size_t n, n_told;
};

static bool cancel_at_once(void *context) {
    ((struct asked *)context)->n++;
    return true;
}

static void count_told(void *context, const char *phase, size_t done, size_t total) {
    cr_expect_str_eq(phase, "checking");
    cr_expect_leq(done, total);
    ((struct asked *)context)->n_told++;
}

Test(check_values, cancelled) {
    struct asked asked = {0};
    moe_check *c;
    moe_check_options options = {.model = {.n_threads = 1, .progress = count_told, .context = &asked},
                                 .is_cancelled = cancel_at_once};
    copies_make("olmoe-default");
    PLANT("model.norm.weight", 0, 0xc0, 0x7f);
    cr_assert_eq(moe_check_open(&c, files_path(""), &options, &err), MOE_OK, "%s", err.message);
    cr_expect_eq(moe_check_values(c, &err), MOE_E_CANCELLED);
    cr_expect(asked.n == 1 && asked.n_told == 1, "%zu, %zu", asked.n, asked.n_told);
    const moe_check_report *r = moe_check_get_report(c);
    cr_expect(r->n_values == 0 && r->n_tainted == 0 && r->n_tensors_listed == 0);
    moe_check_close(c);
}
