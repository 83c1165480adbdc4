/* Every form in which a checkpoint stores a matrix: found, bound to the right bytes, and every way in which
 * its tensors may disagree with each other, with the shape wanted or with config.json. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/storage.h"
#include "tests/loader/files.h"

TestSuite(storage, .init = files_begin, .fini = files_end);

static moe_error err;

/* A checkpoint and what its config.json says. */
struct bed {
    struct moe_quantization quantization;
    struct moe_checkpoint *checkpoint;
    struct moe_source source;
    struct moe_storage storage;
};

/* Bytes of "U32 [2,3]". */
static size_t count_bytes(const char *dtype, const char *shape) {
    enum moe_dtype d;
    cr_assert(moe_dtype_find(&d, dtype), "%s", dtype);
    size_t n = moe_dtype_bits(d) / 8;
    for (const char *p = strpbrk(shape, "0123456789"); p; p = strpbrk(p, "0123456789")) {
        char *end;
        n *= strtoul(p, &end, 10);
        p = end;
    }
    return n;
}

/* Writes model.safetensors with "NAME DTYPE [SHAPE]; ..."; the data begin `pad` bytes later than they need
 * to, and byte i of them is i % 256. */
static void write_tensors(const char *tensors, size_t pad) {
    char header[4096] = "{", copy[2048], *rest;
    size_t at = 1, n = 0;
    snprintf(copy, sizeof copy, "%s", tensors);
    for (char *t = strtok_r(copy, ";", &rest); t; t = strtok_r(NULL, ";", &rest)) {
        char name[128], dtype[16], shape[64];
        cr_assert_eq(sscanf(t, " %127s %15s %63[^;]", name, dtype, shape), 3, "%s", t);
        size_t bytes = count_bytes(dtype, shape);
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                               at > 1 ? "," : "", name, dtype, shape, n, n + bytes);
        n += bytes;
    }
    snprintf(header + at, sizeof header - at, "}%*s", (int)pad, "");
    files_safetensors("model.safetensors", header, n);
}

static void open_bed(struct bed *b, const char *config, const char *tensors, size_t pad) {
    struct moe_json doc;
    write_tensors(tensors, pad);
    cr_assert_eq(moe_checkpoint_open(&b->checkpoint, files_path(""), &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_json_parse(&doc, "config.json", config, strlen(config), &err), MOE_OK, "%s",
                 err.message);
    cr_assert_eq(moe_quantization_read(&b->quantization, moe_json_root(&doc), &err), MOE_OK, "%s",
                 err.message);
    moe_json_close(&doc);
    b->source = moe_source_checkpoint(b->checkpoint);
    b->storage = (struct moe_storage){.source = &b->source, .quantization = &b->quantization};
}

static void close_bed(struct bed *b) {
    moe_quantization_free(&b->quantization);
    moe_checkpoint_close(b->checkpoint);
}

static const char *data_of(const struct bed *b, const char *name) {
    const struct moe_tensor *t = moe_checkpoint_find(b->checkpoint, name);
    cr_assert(t, "%s", name);
    return t->data;
}

#define MLX          "{\"quantization\": {\"group_size\": 64, \"bits\": 4"
#define MLX4         MLX "}}"
#define FP8_CONFIG   "{\"quantization_config\": {\"quant_method\": \"fp8\"}}"
#define MXFP4_CONFIG "{\"quantization_config\": {\"quant_method\": \"mxfp4\"}}"

static struct moe_matrix get(struct bed *b, const char *name, size_t rows, size_t cols) {
    struct moe_matrix w;
    cr_assert_eq(moe_storage_get(&w, &b->storage, name, 0, rows, cols, &err), MOE_OK, "%s", err.message);
    cr_expect(w.rows == rows && w.cols == cols);
    return w;
}

static void expect_totals(const struct bed *b, uint64_t n_parameters, uint64_t n_bytes, const char *layouts) {
    cr_expect_eq(b->storage.totals.n_parameters, n_parameters, "%zu", (size_t)b->storage.totals.n_parameters);
    cr_expect_eq(b->storage.totals.n_bytes, n_bytes, "%zu", (size_t)b->storage.totals.n_bytes);
    cr_expect_eq(b->storage.layouts[MOE_LAYOUT_NATURAL], contains(layouts, "N"));
    cr_expect_eq(b->storage.layouts[MOE_LAYOUT_EVEN_ODD], contains(layouts, "E"));
    cr_expect_eq(b->storage.layouts[MOE_LAYOUT_QUADS], contains(layouts, "Q"));
}

/* What the storage form of each plain dtype is, at any alignment. */
Test(storage, plain) {
    static const char tensors[] = "a.weight F32 [3,5]; b.weight BF16 [2,7]; c F16 [1,9]; d.weight F32 [2,2]";
    for (size_t pad = 0; pad < 8; pad++) {
        struct bed b;
        open_bed(&b, pad % 2 ? MLX4 : "{}", tensors, pad);
        struct moe_matrix w = get(&b, "a.weight", 3, 5);
        cr_expect(w.format == MOE_FORMAT_F32 && w.row_bytes == 20 && w.data == data_of(&b, "a.weight"));
        expect_totals(&b, 15, 60, "N");
        w = get(&b, "b.weight", 2, 7);
        cr_expect(w.format == MOE_FORMAT_BF16 && w.row_bytes == 14 && w.data == data_of(&b, "b.weight"));
        w = get(&b, "c", 1, 9);
        cr_expect(w.format == MOE_FORMAT_F16 && w.row_bytes == 18 && w.data == data_of(&b, "c"));
        cr_expect_null(w.scales.scale);
        expect_totals(&b, 15 + 14 + 9, 60 + 28 + 18, "NE");
        close_bed(&b);
    }
}

Test(storage, plain_stack) {
    struct bed b;
    struct moe_matrix w[3];
    open_bed(&b, "{}", "x.experts.down_proj BF16 [3,4,5]", 1);
    cr_assert_eq(moe_storage_get(w, &b.storage, "x.experts.down_proj", 3, 4, 5, &err), MOE_OK, "%s",
                 err.message);
    for (size_t e = 0; e < 3; e++) {
        cr_expect(w[e].rows == 4 && w[e].cols == 5 && w[e].format == MOE_FORMAT_BF16 && !w[e].scales.scale);
        cr_expect_eq(w[e].data, data_of(&b, "x.experts.down_proj") + e * 40);
    }
    expect_totals(&b, 60, 120, "E");
    close_bed(&b);
}

/* Every number of bits, group size and dtype of scales. */
Test(storage, affine) {
    static const int bits[] = {2, 3, 4, 5, 6, 8};
    static const struct {
        const char *dtype;
        enum moe_format format;
        size_t bytes;
    } numbers[] = {{"F32", MOE_FORMAT_F32, 4}, {"BF16", MOE_FORMAT_BF16, 2}, {"F16", MOE_FORMAT_F16, 2}};
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 3; j++) {
            size_t n = (size_t)bits[i], group = (size_t)32 << j, groups = 384 / group;
            char config[128], tensors[256];
            struct bed b;
            snprintf(config, sizeof config, "{\"quantization\": {\"group_size\": %zu, \"bits\": %d}}", group,
                     bits[i]);
            snprintf(tensors, sizeof tensors,
                     "m.biases %s [5,%zu]; m.weight U32 [5,%zu]; m.scales %s [5,%zu]; m.bias F32 [5]",
                     numbers[j].dtype, groups, 12 * n, numbers[j].dtype, groups);
            open_bed(&b, config, tensors, i + j);
            struct moe_matrix w = get(&b, "m.weight", 5, 384);
            cr_expect_eq(moe_format_bits(w.format), n);
            cr_expect(w.format >= MOE_FORMAT_AFFINE2 && w.format <= MOE_FORMAT_AFFINE8);
            cr_expect(w.data == data_of(&b, "m.weight") && w.row_bytes == 48 * n);
            cr_expect(w.scales.scale == data_of(&b, "m.scales") && w.scales.bias == data_of(&b, "m.biases"));
            cr_expect_eq(w.scales.number, numbers[j].format);
            cr_expect_eq(w.scales.row_bytes, groups * numbers[j].bytes);
            cr_expect(w.scales.columns == group && w.scales.rows == 1 && w.scales.first_row == 0);
            expect_totals(&b, 5 * 384, 5 * (48 * n + 2 * groups * numbers[j].bytes), "Q");
            close_bed(&b);
        }
}

Test(storage, affine_stack) {
    struct bed b;
    struct moe_matrix w[2];
    open_bed(&b, MLX4,
             "s.gate_proj.weight U32 [2,3,16]; s.gate_proj.scales BF16 [2,3,2]; s.gate_proj.biases BF16 "
             "[2,3,2]",
             3);
    cr_assert_eq(moe_storage_get(w, &b.storage, "s.gate_proj.weight", 2, 3, 128, &err), MOE_OK, "%s",
                 err.message);
    for (size_t e = 0; e < 2; e++) {
        cr_expect(w[e].format == MOE_FORMAT_AFFINE4 && w[e].rows == 3 && w[e].cols == 128);
        cr_expect_eq(w[e].data, data_of(&b, "s.gate_proj.weight") + e * 3 * 64);
        cr_expect_eq(w[e].scales.scale, data_of(&b, "s.gate_proj.scales") + e * 3 * 4);
        cr_expect_eq(w[e].scales.bias, data_of(&b, "s.gate_proj.biases") + e * 3 * 4);
        cr_expect(w[e].scales.row_bytes == 4 && w[e].row_bytes == 64 &&
                  w[e].scales.number == MOE_FORMAT_BF16);
    }
    expect_totals(&b, 768, 2 * 3 * (64 + 8), "Q");
    close_bed(&b);
}

/* mlx-lm's mxfp4, in one checkpoint with affine and plain modules. */
Test(storage, mlx_forms_mix) {
    struct bed b;
    struct moe_matrix w, stack[2];
    open_bed(&b,
             "{\"quantization\": {\"group_size\": 32, \"bits\": 4, \"mode\": \"mxfp4\", \"r\": {\"bits\": 8, "
             "\"group_size\": 64}, \"p\": false}}",
             "n.weight F16 [2,48]; e.weight U32 [2,3,8]; e.scales U8 [2,3,2]; r.weight U32 [4,16]; r.scales "
             "F32 [4,1]; r.biases F32 [4,1]; p.weight BF16 [2,64]; o.weight U32 [1,4]; o.scales U8 [1,1]",
             5);
    cr_assert_eq(moe_storage_get(stack, &b.storage, "e.weight", 2, 3, 64, &err), MOE_OK, "%s", err.message);
    for (size_t e = 0; e < 2; e++) {
        w = stack[e];
        cr_expect(w.format == MOE_FORMAT_MXFP4 && w.row_bytes == 32 && w.scales.row_bytes == 2);
        cr_expect(w.scales.columns == 32 && w.scales.rows == 1 && !w.scales.bias && !w.scales.first_row);
        cr_expect_eq(w.data, data_of(&b, "e.weight") + e * 3 * 32);
        cr_expect_eq(w.scales.scale, data_of(&b, "e.scales") + e * 3 * 2);
    }
    expect_totals(&b, 2 * 3 * 64, 2 * 3 * (32 + 2), "Q");
    w = get(&b, "r.weight", 4, 64);
    cr_expect(w.format == MOE_FORMAT_AFFINE8 && w.scales.number == MOE_FORMAT_F32);
    cr_expect_eq(get(&b, "p.weight", 2, 64).format, MOE_FORMAT_BF16);
    /* its width is no multiple of the group size: mlx-lm leaves it as it is, and config.json is silent */
    cr_expect_eq(get(&b, "n.weight", 2, 48).format, MOE_FORMAT_F16);
    cr_expect_eq(get(&b, "o.weight", 1, 32).format, MOE_FORMAT_MXFP4);
    expect_totals(&b, 384 + 256 + 128 + 96 + 32, 204 + 4 * (64 + 8) + 256 + 192 + 17, "QEN");
    close_bed(&b);
}

Test(storage, fp8) {
    static const struct {
        const char *dtype;
        enum moe_format format;
        size_t bytes;
    } numbers[] = {{"F32", MOE_FORMAT_F32, 4}, {"BF16", MOE_FORMAT_BF16, 2}, {"F16", MOE_FORMAT_F16, 2}};
    for (size_t i = 0; i < 3; i++) {
        char tensors[256];
        struct bed b;
        /* partial blocks at both ends */
        snprintf(tensors, sizeof tensors,
                 "q.weight F8_E4M3 [129,257]; q.weight_scale_inv %s [2,3]; k.weight BF16 [2,2]; "
                 "whole.weight F8_E4M3 [256,128]; whole.weight_scale_inv F32 [2,1]",
                 numbers[i].dtype);
        open_bed(&b, FP8_CONFIG, tensors, 1 + i);
        struct moe_matrix w = get(&b, "q.weight", 129, 257);
        cr_expect(w.format == MOE_FORMAT_FP8 && w.row_bytes == 257 && w.data == data_of(&b, "q.weight"));
        cr_expect(w.scales.scale == data_of(&b, "q.weight_scale_inv") && !w.scales.bias);
        cr_expect(w.scales.number == numbers[i].format && w.scales.row_bytes == 3 * numbers[i].bytes);
        cr_expect(w.scales.columns == 128 && w.scales.rows == 128 && w.scales.first_row == 0);
        expect_totals(&b, 129 * 257, 129 * 257 + 6 * numbers[i].bytes, "Q");
        cr_expect_eq(get(&b, "k.weight", 2, 2).format, MOE_FORMAT_BF16);
        cr_expect_eq(get(&b, "whole.weight", 256, 128).scales.row_bytes, 4);
        close_bed(&b);
    }
}

/* FP8 and MXFP4 describe themselves: whatever config.json is about, and beside every other form. */
Test(storage, all_forms_mix) {
    static const char *const configs[] = {"{}", MLX4, FP8_CONFIG, MXFP4_CONFIG};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct bed b;
        open_bed(
            &b, configs[i],
            "f.weight F8_E4M3 [4,192]; f.weight_scale_inv BF16 [1,2]; m_blocks U8 [4,2,16]; m_scales U8 [4,2]; "
            "p.weight F16 [2,2]",
            3);
        cr_expect_eq(get(&b, "f.weight", 4, 192).format, MOE_FORMAT_FP8);
        cr_expect_eq(get(&b, "m", 4, 64).format, MOE_FORMAT_MXFP4);
        cr_expect_eq(get(&b, "p.weight", 2, 2).format, MOE_FORMAT_F16);
        close_bed(&b);
    }
}

/* Stacked and fused, as transformers holds experts: the up rows begin inside a block of 128. */
Test(storage, fp8_stack) {
    struct bed b;
    struct moe_matrix w[2];
    open_bed(&b, FP8_CONFIG,
             "x.experts.gate_up_proj F8_E4M3 [2,192,130]; x.experts.gate_up_proj_scale_inv F32 [2,2,2]", 6);
    cr_assert_eq(moe_storage_get(w, &b.storage, "x.experts.gate_up_proj", 2, 192, 130, &err), MOE_OK, "%s",
                 err.message);
    for (size_t e = 0; e < 2; e++) {
        const char *data = data_of(&b, "x.experts.gate_up_proj") + e * 192 * 130;
        const char *scales = data_of(&b, "x.experts.gate_up_proj_scale_inv") + e * 2 * 2 * 4;
        cr_expect(w[e].format == MOE_FORMAT_FP8 && w[e].data == data && w[e].scales.scale == scales);
        struct moe_matrix up = moe_matrix_rows(&w[e], 96, 96);
        cr_expect_eq((const char *)up.scales.scale + moe_matrix_group_row(&up, 31), scales);
        cr_expect_eq((const char *)up.scales.scale + moe_matrix_group_row(&up, 32), scales + 8);
    }
    expect_totals(&b, 2 * 192 * 130, 2 * (192 * 130 + 16), "Q");
    close_bed(&b);
}

Test(storage, mxfp4) {
    struct bed b;
    struct moe_matrix w[2];
    open_bed(
        &b, MXFP4_CONFIG,
        "g.gate_up_proj_scales U8 [2,6,3]; g.gate_up_proj_blocks U8 [2,6,3,16]; g.gate_up_proj_bias BF16 "
        "[2,6]; one_blocks U8 [2,1,16]; one_scales U8 [2,1]; q.weight BF16 [2,2]",
        7);
    cr_assert_eq(moe_storage_get(w, &b.storage, "g.gate_up_proj", 2, 6, 96, &err), MOE_OK, "%s", err.message);
    for (size_t e = 0; e < 2; e++) {
        cr_expect(w[e].format == MOE_FORMAT_MXFP4 && w[e].rows == 6 && w[e].cols == 96);
        cr_expect_eq(w[e].data, data_of(&b, "g.gate_up_proj_blocks") + e * 6 * 48);
        cr_expect_eq(w[e].scales.scale, data_of(&b, "g.gate_up_proj_scales") + e * 6 * 3);
        cr_expect(w[e].row_bytes == 48 && w[e].scales.row_bytes == 3 && !w[e].scales.bias);
        cr_expect(w[e].scales.columns == 32 && w[e].scales.rows == 1 && w[e].scales.first_row == 0);
    }
    expect_totals(&b, 2 * 6 * 96, 2 * 6 * (48 + 3), "Q");
    cr_expect_eq(get(&b, "one", 2, 32).data, data_of(&b, "one_blocks"));
    cr_expect_eq(get(&b, "q.weight", 2, 2).format, MOE_FORMAT_BF16);
    close_bed(&b);
}

Test(storage, find) {
    struct bed b;
    open_bed(
        &b, "{}",
        "a.weight F32 [1]; b.weight U32 [1]; c.scales U8 [1]; d.weight F8_E4M3 [1]; e.weight_scale_inv F32 "
        "[1]; f_blocks U8 [1]; g_scales U8 [1]; h F8_E4M3 [1]; i_scale_inv F32 [1]; j I64 [1]; "
        "k.weight_blocks U8 [1]; l.weight_scales U8 [1]; m.bias F32 [1]; n U32 [1]",
        0);
    static const struct {
        const char *name;
        enum moe_storage_form form;
    } cases[] = {
        {"a.weight", MOE_STORAGE_PLAIN}, {"b.weight", MOE_STORAGE_MLX},  {"c.weight", MOE_STORAGE_MLX},
        {"d.weight", MOE_STORAGE_FP8},   {"e.weight", MOE_STORAGE_FP8},  {"f", MOE_STORAGE_MXFP4},
        {"g", MOE_STORAGE_MXFP4},        {"h", MOE_STORAGE_FP8},         {"i", MOE_STORAGE_FP8},
        {"j", MOE_STORAGE_PLAIN},        {"k.weight", MOE_STORAGE_NONE}, {"l.weight", MOE_STORAGE_NONE},
        {"m.bias", MOE_STORAGE_PLAIN},   {"n", MOE_STORAGE_PLAIN},       {"a", MOE_STORAGE_NONE},
        {".weight", MOE_STORAGE_NONE},   {"weight", MOE_STORAGE_NONE},   {"", MOE_STORAGE_NONE},
        {"z.weight", MOE_STORAGE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(moe_storage_find(&b.storage, cases[i].name), cases[i].form, "%s", cases[i].name);
        cr_expect_eq(moe_storage_has(&b.storage, cases[i].name), cases[i].form != MOE_STORAGE_NONE);
    }
    close_bed(&b);
}

#define A(weight, scales, biases) "a.weight " weight "; a.scales " scales "; a.biases " biases
#define CONTEXT                   " (config.json: quantization: affine 4-bit in groups of 64)"

/* A matrix "a.weight" or "a" of [4, 192], or a stack of 2 of them, that cannot be had. */
Test(storage, faults_are_named) {
    static const struct {
        const char *config, *tensors, *name;
        size_t n_stacked;
        moe_status status;
        const char *says;
    } faults[] = {
        {"{}", "b F32 [1]", "a.weight", 0, MOE_E_FORMAT, "tensor a.weight: missing"},
        {"{}", "a.weight F32 [4,191]", "a.weight", 0, MOE_E_FORMAT,
         "model.safetensors: tensor a.weight: shape [4, 191], expected [4, 192]"},
        {"{}", "a.weight F32 [4,192]", "a.weight", 2, MOE_E_FORMAT, "shape [4, 192], expected [2, 4, 192]"},
        {"{}", "a.weight F32 [2,4,192]", "a.weight", 0, MOE_E_FORMAT, "expected [4, 192]"},
        {"{}", "a.weight F32 [192,4]", "a.weight", 0, MOE_E_FORMAT, "shape [192, 4]"},
        {"{}", "a.weight F64 [4,192]", "a.weight", 0, MOE_E_UNSUPPORTED,
         "model.safetensors: tensor a.weight: dtype F64, expected F32, BF16 or F16"},
        {"{}", "a.weight F8_E5M2 [4,192]", "a.weight", 0, MOE_E_UNSUPPORTED, "dtype F8_E5M2"},
        /* mlx */
        {"{}", A("U32 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_FORMAT,
         "config.json: quantization_config: expected group_size and bits, because of tensor a.weight"},
        {FP8_CONFIG, A("U32 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_FORMAT,
         "config.json: quantization_config: expected group_size and bits, because of tensor a.weight"},
        {MLX ", \"a\": false}}", A("U32 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_FORMAT,
         "config.json: quantization.a: false, but tensor a.weight is quantised"},
        {"{\"quantization\": {\"group_size\": 128, \"bits\": 4}}", A("U32 [4,24]", "F16 [4,1]", "F16 [4,1]"),
         "a.weight", 0, MOE_E_FORMAT,
         "config.json: quantization: groups of 128 do not divide the 192 columns of tensor a.weight"},
        {MLX4, "a.weight U32 [4,24]", "a.weight", 0, MOE_E_FORMAT, "tensor a.scales: missing" CONTEXT},
        {MLX4, "a.scales F32 [4,3]", "a.weight", 0, MOE_E_FORMAT, "tensor a.weight: missing" CONTEXT},
        {MLX4, "a.weight U32 [4,24]; a.scales F32 [4,3]", "a.weight", 0, MOE_E_FORMAT,
         "tensor a.biases: missing" CONTEXT},
        {MLX4, A("U32 [4,48]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_FORMAT,
         "model.safetensors: tensor a.weight: shape [4, 48], expected [4, 24]" CONTEXT},
        {MLX4, A("U32 [3,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_FORMAT,
         "tensor a.weight: shape [3, 24], expected [4, 24]" CONTEXT},
        {MLX4, A("U32 [4,24]", "F16 [4,6]", "F16 [4,6]"), "a.weight", 0, MOE_E_FORMAT,
         "tensor a.scales: shape [4, 6], expected [4, 3]" CONTEXT},
        {MLX4, A("U32 [4,24]", "F16 [5,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_FORMAT,
         "tensor a.scales: shape [5, 3], expected [4, 3]" CONTEXT},
        {MLX4, A("U32 [4,24]", "F16 [4,3]", "F16 [4,2]"), "a.weight", 0, MOE_E_FORMAT,
         "tensor a.biases: shape [4, 2], expected [4, 3]" CONTEXT},
        {MLX4, A("U32 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 2, MOE_E_FORMAT,
         "tensor a.weight: shape [4, 24], expected [2, 4, 24]" CONTEXT},
        {MLX4, A("U32 [2,4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 2, MOE_E_FORMAT,
         "tensor a.scales: shape [4, 3], expected [2, 4, 3]" CONTEXT},
        {MLX4, A("I32 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_UNSUPPORTED,
         "tensor a.weight: dtype I32, expected U32" CONTEXT},
        {MLX4, A("F16 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_UNSUPPORTED,
         "tensor a.weight: dtype F16, expected U32" CONTEXT},
        {MLX4, A("U32 [4,24]", "U8 [4,3]", "F16 [4,3]"), "a.weight", 0, MOE_E_UNSUPPORTED,
         "tensor a.scales: dtype U8, expected F32, BF16 or F16" CONTEXT},
        {MLX4, A("U32 [4,24]", "F16 [4,3]", "BF16 [4,3]"), "a.weight", 0, MOE_E_UNSUPPORTED,
         "tensor a.biases: dtype BF16, expected F16" CONTEXT},
        {"{\"quantization\": {\"group_size\": 32, \"bits\": 4, \"mode\": \"mxfp4\"}}",
         A("U32 [4,24]", "F16 [4,6]", "F16 [4,6]"), "a.weight", 0, MOE_E_UNSUPPORTED,
         "tensor a.scales: dtype F16, expected U8 (config.json: quantization: MXFP4 in groups of 32)"},
        /* the matrix is not of the width that group_size says */
        {MLX ", \"a\": {\"bits\": 8}}}", A("U32 [4,24]", "F16 [4,3]", "F16 [4,3]"), "a.weight", 0,
         MOE_E_FORMAT,
         "shape [4, 24], expected [4, 48] (config.json: quantization: affine 8-bit in groups of 64)"},
        /* FP8 */
        {FP8_CONFIG, "a.weight F8_E4M3 [4,192]; a.weight_scale F32 [1,2]", "a.weight", 0, MOE_E_FORMAT,
         "tensor a.weight_scale_inv: missing"},
        {FP8_CONFIG, "a.weight_scale_inv F32 [1,2]", "a.weight", 0, MOE_E_FORMAT, "tensor a.weight: missing"},
        {FP8_CONFIG, "a.weight F8_E4M3 [4,191]; a.weight_scale_inv F32 [1,2]", "a.weight", 0, MOE_E_FORMAT,
         "model.safetensors: tensor a.weight: shape [4, 191], expected [4, 192]"},
        {FP8_CONFIG, "a.weight F8_E4M3 [4,192]; a.weight_scale_inv F32 [1,1]", "a.weight", 0, MOE_E_FORMAT,
         "tensor a.weight_scale_inv: shape [1, 1], expected [1, 2]"},
        {FP8_CONFIG, "a.weight F8_E4M3 [4,192]; a.weight_scale_inv F32 []", "a.weight", 0, MOE_E_FORMAT,
         "tensor a.weight_scale_inv: shape [], expected [1, 2]"},
        {FP8_CONFIG, "a.weight F8_E4M3 [4,192]; a.weight_scale_inv F8_E8M0 [1,2]", "a.weight", 0,
         MOE_E_UNSUPPORTED, "tensor a.weight_scale_inv: dtype F8_E8M0, expected F32, BF16 or F16"},
        {FP8_CONFIG, "a.weight F8_E5M2 [4,192]; a.weight_scale_inv F32 [1,2]", "a.weight", 0,
         MOE_E_UNSUPPORTED, "tensor a.weight: dtype F8_E5M2, expected F8_E4M3"},
        {FP8_CONFIG, "a.weight BF16 [4,192]; a.weight_scale_inv F32 [1,2]", "a.weight", 0, MOE_E_UNSUPPORTED,
         "tensor a.weight: dtype BF16, expected F8_E4M3"},
        {FP8_CONFIG, "a F8_E4M3 [2,4,192]; a_scale_inv F32 [1,2]", "a", 2, MOE_E_FORMAT,
         "tensor a_scale_inv: shape [1, 2], expected [2, 1, 2]"},
        /* MXFP4 */
        {MXFP4_CONFIG, "a_blocks U8 [4,6,16]", "a", 0, MOE_E_FORMAT, "tensor a_scales: missing"},
        {MXFP4_CONFIG, "a_scales U8 [4,6]", "a", 0, MOE_E_FORMAT, "tensor a_blocks: missing"},
        {MXFP4_CONFIG, "a_blocks U8 [4,96]; a_scales U8 [4,6]", "a", 0, MOE_E_FORMAT,
         "model.safetensors: tensor a_blocks: shape [4, 96], expected [4, 6, 16]"},
        {MXFP4_CONFIG, "a_blocks U8 [4,6,16]; a_scales U8 [4,5]", "a", 0, MOE_E_FORMAT,
         "tensor a_scales: shape [4, 5], expected [4, 6]"},
        {MXFP4_CONFIG, "a_blocks U8 [4,6,16]; a_scales U8 [4,6]", "a", 2, MOE_E_FORMAT,
         "tensor a_blocks: shape [4, 6, 16], expected [2, 4, 6, 16]"},
        {MXFP4_CONFIG, "a_blocks U8 [2,4,6,16]; a_scales U8 [4,6]", "a", 2, MOE_E_FORMAT,
         "tensor a_scales: shape [4, 6], expected [2, 4, 6]"},
        {MXFP4_CONFIG, "a_blocks I8 [4,6,16]; a_scales U8 [4,6]", "a", 0, MOE_E_UNSUPPORTED,
         "tensor a_blocks: dtype I8, expected U8"},
        {MXFP4_CONFIG, "a_blocks U8 [4,6,16]; a_scales F8_E8M0 [4,6]", "a", 0, MOE_E_UNSUPPORTED,
         "tensor a_scales: dtype F8_E8M0, expected U8"},
        {MXFP4_CONFIG, "a BF16 [4,192]; a_blocks U8 [4,6,15]", "a", 0, MOE_E_FORMAT,
         "tensor a_blocks: shape"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct bed b;
        struct moe_matrix w[2];
        open_bed(&b, faults[i].config, faults[i].tensors, i % 8);
        cr_expect_eq(moe_storage_get(w, &b.storage, faults[i].name, faults[i].n_stacked, 4, 192, &err),
                     faults[i].status, "%s: %s", faults[i].tensors, err.message);
        cr_expect(contains(err.message, faults[i].says), "\"%s\" lacks \"%s\"", err.message, faults[i].says);
        cr_expect_eq(moe_storage_get(w, &b.storage, faults[i].name, faults[i].n_stacked, 4, 192, NULL),
                     faults[i].status);
        expect_totals(&b, 0, 0, "");
        close_bed(&b);
    }
}

Test(storage, groups_of_32_divide_the_columns) {
    struct bed b;
    struct moe_matrix w;
    open_bed(&b, MXFP4_CONFIG, "a_blocks U8 [4,6,16]; a_scales U8 [4,6]", 0);
    cr_expect_eq(moe_storage_get(&w, &b.storage, "a", 0, 4, 200, &err), MOE_E_FORMAT);
    cr_expect_str_eq(err.message,
                     "config.json: quantization_config: groups of 32 do not divide the 200 columns "
                     "of tensor a_blocks");
    close_bed(&b);
}

/* The settings of a module are found by its name: the tensor's, without ".weight". */
Test(storage, modules_are_told_apart) {
    struct bed b;
    open_bed(&b, MLX ", \"a.b\": {\"bits\": 8}, \"a\": {\"bits\": 2}, \"a.b.weight\": {\"bits\": 2}}}",
             "a.b.weight U32 [1,16]; a.b.scales F32 [1,1]; a.b.biases F32 [1,1]; a.bb.weight U32 [1,8]; "
             "a.bb.scales F32 [1,1]; a.bb.biases F32 [1,1]",
             0);
    cr_expect_eq(get(&b, "a.b.weight", 1, 64).format, MOE_FORMAT_AFFINE8);
    cr_expect_eq(get(&b, "a.bb.weight", 1, 64).format, MOE_FORMAT_AFFINE4);
    close_bed(&b);
}

/* Byte i of the data is i: little-endian values follow from where a tensor lies. */
Test(storage, vectors_are_widened) {
    for (size_t pad = 0; pad < 4; pad++) {
        struct bed b;
        float x[4] = {-1, -1, -1, -1};
        open_bed(&b, MLX4, "pad U8 [64]; f BF16 [2]; g F16 [1,2]; h F32 [1]; s F16 [2,1]", pad);
        cr_assert_eq(moe_storage_get_vector(x, &b.storage, "f", 2, &err), MOE_OK, "%s", err.message);
        uint32_t bits[2] = {0x41400000, 0x43420000};
        cr_expect_arr_eq(x, bits, sizeof bits);
        cr_expect_eq(x[2], -1);
        const size_t shape[] = {1, 2};
        cr_assert_eq(moe_storage_get_array(x, &b.storage, "g", shape, 2, &err), MOE_OK, "%s", err.message);
        cr_expect(x[0] == 4 * (1 + 0x144 / 1024.0f) && x[1] == 4 * (1 + 0x346 / 1024.0f), "%a", (double)x[0]);
        cr_expect_eq(x[2], -1);
        cr_assert_eq(moe_storage_get_vector(x, &b.storage, "h", 1, &err), MOE_OK, "%s", err.message);
        bits[0] = 0x4b4a4948;
        cr_expect_arr_eq(x, bits, 4);
        expect_totals(&b, 5, 4 + 4 + 4, "");
        cr_expect_eq(moe_storage_get_vector(x, &b.storage, "g", 2, &err), MOE_E_FORMAT);
        cr_expect(contains(err.message, "tensor g: shape [1, 2], expected [2]"), "%s", err.message);
        cr_expect_eq(moe_storage_get_array(x, &b.storage, "s", shape, 2, &err), MOE_E_FORMAT);
        cr_expect(contains(err.message, "tensor s: shape [2, 1], expected [1, 2]"), "%s", err.message);
        cr_expect_eq(moe_storage_get_vector(x, &b.storage, "pad", 64, &err), MOE_E_UNSUPPORTED);
        cr_expect(contains(err.message, "tensor pad: dtype U8, expected F32, BF16 or F16"), "%s",
                  err.message);
        cr_expect_eq(moe_storage_get_vector(x, &b.storage, "none", 1, &err), MOE_E_FORMAT);
        cr_expect(contains(err.message, "tensor none: missing"), "%s", err.message);
        expect_totals(&b, 5, 12, "");
        close_bed(&b);
    }
}
