#include "cli/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const quantity_names[Q_COUNT] = {"hidden", "router", "ffn_in", "ffn_out", "experts", "logits"};

float reference_value(const struct reference_tensor *t, size_t row, size_t i) {
    float x;
    memcpy(&x, t->data + (row * t->n + i) * sizeof x, sizeof x);
    return x;
}

int64_t reference_id(const struct reference_tensor *t, size_t row, size_t i) {
    int64_t x;
    memcpy(&x, t->data + (row * t->n + i) * sizeof x, sizeof x);
    return x;
}

const struct reference_tensor *reference_get(const struct reference *r, enum quantity q, size_t layer) {
    return q == Q_LOGITS ? &r->logits : &r->layers[q][layer];
}

/* Welford's, so that a large mean costs no digits. */
static double deviation(const struct reference_tensor *t) {
    double mean = 0, squares = 0, n = 0;
    for (size_t row = 0; row < t->n_rows; row++)
        for (size_t i = 0; i < t->n; i++) {
            double x = (double)reference_value(t, row, i);
            if (!isfinite(x)) continue;
            double delta = x - mean;
            n += 1;
            mean += delta / n;
            squares += delta * (x - mean);
        }
    return n > 0 ? sqrt(squares / n) : 0;
}

/* Finds tensor `name` with rows of n; leading dimensions are rows. */
static void find_tensor(struct reference_tensor *out, const struct reference *r, const char *file,
                        const char *name, const char *dtype, size_t n) {
    moe_tensor_view v;
    *out = (struct reference_tensor){0};
    if (!moe_tensors_find(&v, r->file, name)) return;
    if (strcmp(v.dtype, dtype) != 0)
        die(STATUS_FAILED, "%s: tensor %s: dtype %s, expected %s", file, name, v.dtype, dtype);
    if (n == 0 || v.rank < 2 || v.shape[v.rank - 1] != n)
        die(STATUS_FAILED, "%s: tensor %s: rank %zu, last dimension %zu; expected rows of %zu", file, name,
            v.rank, v.rank ? v.shape[v.rank - 1] : 0, n);
    size_t row_bytes = n * (strcmp(dtype, "I64") == 0 ? sizeof(int64_t) : sizeof(float));
    *out = (struct reference_tensor){.data = v.data, .n_rows = v.n_bytes / row_bytes, .n = n};
    if (strcmp(dtype, "F32") == 0) out->deviation = deviation(out);
}

/* Appends the ids of tensor `name`, [n] or [1, n]; how many there are. */
static size_t read_ids(struct reference *r, const char *file, const char *name, size_t n_before,
                       size_t vocab_size) {
    moe_tensor_view v;
    if (!moe_tensors_find(&v, r->file, name)) die(STATUS_FAILED, "%s: tensor %s is missing", file, name);
    bool is_vector = v.rank == 1 || (v.rank == 2 && v.shape[0] == 1);
    if (strcmp(v.dtype, "I64") != 0 || !is_vector)
        die(STATUS_FAILED, "%s: tensor %s: dtype %s, rank %zu; expected I64 [n]", file, name, v.dtype,
            v.rank);
    size_t n = v.shape[v.rank - 1], room = n_before;
    need_room(&r->ids, &room, n_before + n + 1, sizeof *r->ids);
    for (size_t i = 0; i < n; i++) {
        int64_t id;
        memcpy(&id, (const unsigned char *)v.data + i * sizeof id, sizeof id);
        if (id < 0 || (uint64_t)id >= vocab_size)
            die(STATUS_FAILED, "%s: tensor %s: id %lld at %zu, but the model's vocabulary has %zu tokens",
                file, name, (long long)id, i, vocab_size);
        r->ids[n_before + i] = (uint32_t)id;
    }
    return n;
}

/* The width of a row of layer `layer`. */
static size_t width_of(enum quantity q, size_t layer, const moe_model *m) {
    const moe_model_info *info = moe_model_get_info(m);
    switch (q) {
    case Q_ROUTER:
        return info->n_choices;
    case Q_EXPERTS:
        return layer < info->n_layers ? moe_model_top_k(m, layer) : info->top_k;
    default:
        return info->hidden_size;
    }
}

void reference_open(struct reference *r, const char *file, const moe_model *m) {
    const moe_model_info *model = moe_model_get_info(m);
    moe_error err = {{0}};
    *r = (struct reference){.n_layers = model->n_layers};
    if (moe_tensors_open(&r->file, file, &err) != MOE_OK) die(STATUS_FAILED, "%s", err.message);
    r->n_prompt = read_ids(r, file, "prompt_ids", 0, model->vocab_size);
    r->n_generated = read_ids(r, file, "generated_ids", r->n_prompt, model->vocab_size);
    if (r->n_prompt == 0) die(STATUS_FAILED, "%s: tensor prompt_ids is empty", file);
    find_tensor(&r->logits, r, file, "logits", "F32", model->vocab_size);
    for (int q = 0; q < Q_LOGITS; q++) {
        r->layers[q] = need(model->n_layers, sizeof *r->layers[q]);
        for (size_t l = 0; l <= model->n_layers; l++) {
            char name[64];
            struct reference_tensor t;
            snprintf(name, sizeof name, "%s.%zu", quantity_names[q], l);
            find_tensor(&t, r, file, name, q == Q_EXPERTS ? "I64" : "F32", width_of((enum quantity)q, l, m));
            if (l < model->n_layers) r->layers[q][l] = t;
            if (l == model->n_layers && t.data)
                die(STATUS_FAILED, "%s: tensor %s, but the model has %zu layers", file, name,
                    model->n_layers);
        }
    }
    if (r->n_generated == 0 && r->logits.n_rows < r->n_prompt)
        die(STATUS_FAILED, "%s: neither generated_ids nor logits of the whole prompt: no token to compare",
            file);
}

void reference_close(struct reference *r) {
    for (int q = 0; q < Q_LOGITS; q++) free(r->layers[q]);
    free(r->ids);
    moe_tensors_close(r->file);
    *r = (struct reference){0};
}
