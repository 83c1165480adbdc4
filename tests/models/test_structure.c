/* The tensors that each family asks for, in each layout of the experts, against lists locked in
 * tests/fixtures/structure: names and shapes, byte for byte. A recording source takes down what the binder
 * asks. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/weights.h"

enum { MAX_LINES = 512, MAX_LINE = 160 };

struct recorder {
    const char *expected; /* the list, which is the checkpoint that is asked */
    char lines[MAX_LINES][MAX_LINE];
    size_t n_lines;
    float *zeros;
};

/* Plain F32 tensors, those of the list. */
static bool has(void *context, enum moe_dtype *dtype, const char *name) {
    const struct recorder *r = context;
    size_t n = strlen(name);
    if (dtype) *dtype = MOE_DTYPE_F32;
    for (const char *line = r->expected; *line; line = strchr(line, '\n') + 1)
        if (!strncmp(line, name, n) && line[n] == ' ') return true;
    return false;
}

static moe_status get(void *context, struct moe_source_tensor *out, const char *name, const size_t *shape,
                      size_t rank, uint32_t dtypes, moe_error *err) {
    cr_expect(dtypes >> MOE_DTYPE_F32 & 1);
    struct recorder *r = context;
    (void)err;
    char *line = r->lines[r->n_lines++];
    cr_assert_leq(r->n_lines, MAX_LINES);
    int at = snprintf(line, MAX_LINE, "%s [", name);
    for (size_t i = 0; i < rank; i++)
        at += snprintf(line + at, (size_t)(MAX_LINE - at), "%s%zu", i ? "," : "", shape[i]);
    snprintf(line + at, (size_t)(MAX_LINE - at), "]\n");
    *out = (struct moe_source_tensor){MOE_DTYPE_F32, r->zeros, 0, ""};
    return MOE_OK;
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(a, b);
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    cr_assert(f, "%s", path);
    char *text = calloc(1, MAX_LINES * MAX_LINE);
    cr_assert_lt(fread(text, 1, MAX_LINES * MAX_LINE - 1, f), MAX_LINES * MAX_LINE - 1);
    fclose(f);
    return text;
}

struct structure {
    char family[32], layout[8]; /* "", "-fused" or "-mlx" */
};

/* transformers holds what the Hub has; what is stacked there already mlx-lm leaves as it is. */
static const struct structure missing[] = {
    {"granitemoe_swa", "-fused"}, {"mistral4", "-fused"}, {"mistral4", "-mlx"},
    {"dbrx", "-fused"},           {"dbrx", "-mlx"},       {"llama4_text", "-fused"},
    {"llama4_text", "-mlx"}};

static bool is_there(const struct structure *c) {
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        if (!strcmp(missing[i].family, c->family) && !strcmp(missing[i].layout, c->layout)) return false;
    return true;
}

/* Every family as on the Hub, and in the other layouts that it has. */
ParameterizedTestParameters(structure, tensors) {
    static const struct structure all[] = {
#define MOE_FAMILY(id) {#id, ""}, {#id, "-fused"}, {#id, "-mlx"},
#include "models/families.def"
#undef MOE_FAMILY
        {"kimi_k2", ""},
        {"kimi_k2", "-fused"},
        {"kimi_k2", "-mlx"},
    };
    static struct structure cases[sizeof all / sizeof *all];
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (is_there(&all[i])) cases[n++] = all[i];
    return cr_make_param_array(struct structure, cases, n);
}

ParameterizedTest(struct structure *c, structure, tensors) {
    char path[1024];
    moe_error err;
    struct moe_json doc;
    struct moe_spec spec;
    struct moe_weights weights;
    struct recorder *r = calloc(1, sizeof *r);
    snprintf(path, sizeof path, MOE_FIXTURES "/structure/%s%s.txt", c->family, c->layout);
    char *expected = read_file(path);
    r->expected = expected;
    r->zeros = calloc(1 << 16, sizeof *r->zeros);
    snprintf(path, sizeof path, MOE_FIXTURES "/structure/%s.json", c->family);
    cr_assert_eq(moe_json_open(&doc, path, 1 << 20, &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_spec_resolve(&spec, moe_json_root(&doc), &err), MOE_OK, "%s", err.message);
    const struct moe_source source = {r, has, get, .makes_all = true};
    cr_assert_eq(moe_weights_bind(&weights, &spec, &source, NULL, &err), MOE_OK, "%s", err.message);

    qsort(r->lines, r->n_lines, MAX_LINE, compare_lines);
    char *got = calloc(MAX_LINES, MAX_LINE), *end = got;
    for (size_t i = 0; i < r->n_lines; i++) end = stpcpy(end, r->lines[i]);
    cr_expect_str_eq(got, expected, "%s%s", c->family, c->layout);

    free(expected);
    free(got);
    moe_weights_free(&weights);
    moe_spec_free(&spec);
    moe_json_close(&doc);
    free(r->zeros);
    free(r);
}

static bool has_fp8(void *context, enum moe_dtype *dtype, const char *name) {
    bool found = has(context, dtype, name);
    if (dtype && strstr(name, ".experts.gate_up_proj")) *dtype = MOE_DTYPE_F8_E4M3;
    return found;
}

/* A block of 128 rows would have one scale for rows of both. */
Test(structure, alternating_rows_are_not_fp8) {
    moe_error err;
    struct moe_json doc;
    struct moe_spec spec;
    struct moe_weights weights;
    struct recorder *r = calloc(1, sizeof *r);
    char *expected = read_file(MOE_FIXTURES "/structure/gpt_oss-fused.txt");
    r->expected = expected;
    r->zeros = calloc(1 << 16, sizeof *r->zeros);
    cr_assert_eq(moe_json_open(&doc, MOE_FIXTURES "/structure/gpt_oss.json", 1 << 20, &err), MOE_OK);
    cr_assert_eq(moe_spec_resolve(&spec, moe_json_root(&doc), &err), MOE_OK, "%s", err.message);
    const struct moe_source source = {r, has_fp8, get, .makes_all = true};
    cr_expect_eq(moe_weights_bind(&weights, &spec, &source, NULL, &err), MOE_E_UNSUPPORTED);
    cr_expect(strstr(err.message, "gpt_oss.json: FP8 is not supported for tensor "
                                  "model.layers.0.mlp.experts.gate_up_proj, whose rows"),
              "%s", err.message);
    moe_spec_free(&spec);
    moe_json_close(&doc);
    free(expected);
    free(r->zeros);
    free(r);
}
