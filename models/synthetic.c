#include "models/synthetic.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/machine.h"
#include "models/synthetic_format.h"

struct block {
    void *data;
    size_t bytes, n; /* n elements of a matrix still to be drawn; 0: a vector, which has its values */
    struct moe_synthetic_tensor tensor;
};

struct moe_synthetic {
    const struct moe_synthetic_format *format;
    struct moe_draws draws;
    size_t available; /* bytes that may still be taken: pages are only found missing when they are written */
    struct block *blocks;
    size_t n_blocks, capacity;
};

moe_status moe_synthetic_open(struct moe_synthetic **out, const char *format, uint64_t seed, moe_error *err) {
    *out = NULL;
    const struct moe_synthetic_format *f =
        format ? moe_synthetic_format_find(format) : moe_synthetic_format_at(0);
    if (!f) return MOE_FAIL(err, MOE_E_ARGUMENT, "format %.100s: no such format of random weights", format);
    struct moe_synthetic *s = *out = calloc(1, sizeof *s);
    if (!s) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    s->format = f;
    s->available = moe_memory_available();
    moe_draws_open(&s->draws, seed);
    return MOE_OK;
}

moe_status moe_synthetic_describe(const struct moe_synthetic *s, struct moe_quantization *q, moe_error *err) {
    if (s->format->form != MOE_STORAGE_MLX) return MOE_OK;
    return moe_quantization_replace(q, s->format->format, MOE_SYNTHETIC_GROUP, err);
}

void moe_synthetic_close(struct moe_synthetic *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_blocks; i++) munmap(s->blocks[i].data, s->blocks[i].bytes);
    free(s->blocks);
    free(s);
}

static moe_status take(struct moe_synthetic *s, void **out, size_t bytes, moe_error *err) {
    *out = NULL;
    if (s->n_blocks == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 64;
        struct block *blocks = realloc(s->blocks, capacity * sizeof *blocks);
        if (!blocks) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
        s->blocks = blocks;
        s->capacity = capacity;
    }
    if (bytes > s->available)
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: random weights of this shape do not fit");
    s->available -= bytes;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: %zu bytes wanted", bytes);
    /* what the loader asks of a mapped file too */
    madvise(p, bytes, MADV_HUGEPAGE);
    s->blocks[s->n_blocks++] = (struct block){.data = p, .bytes = bytes};
    *out = p;
    return MOE_OK;
}

/* Matrices are drawn later, once all are known to fit; vectors at once, because they are widened when bound.
 */
static bool is_vector(const char *name, size_t rank) {
    size_t n = strlen(name);
    return rank == 1 || (n > 4 && !strcmp(name + n - 4, "bias"));
}

static bool has(void *context, enum moe_dtype *dtype, const char *name) {
    const struct moe_synthetic *s = context;
    struct moe_synthetic_tensor tensor = {MOE_DTYPE_F32, MOE_DRAW_WEIGHTS};
    bool found = is_vector(name, 2) || moe_synthetic_format_has(s->format, &tensor, name);
    if (dtype) *dtype = tensor.dtype;
    return found;
}

static moe_status get(void *context, struct moe_source_tensor *out, const char *name, const size_t *shape,
                      size_t rank, uint32_t dtypes, moe_error *err) {
    struct moe_synthetic *s = context;
    size_t n = 1, bytes;
    (void)dtypes; /* has() told the dtype, and with it the form */
    for (size_t i = 0; i < rank; i++)
        if (__builtin_mul_overflow(n, shape[i], &n)) n = SIZE_MAX / 8;
    struct moe_synthetic_tensor tensor = {MOE_DTYPE_F32, MOE_DRAW_WEIGHTS};
    const bool vector = is_vector(name, rank);
    if (!vector) moe_synthetic_format_has(s->format, &tensor, name);
    if (__builtin_mul_overflow(n, moe_dtype_bits(tensor.dtype) / 8, &bytes)) bytes = SIZE_MAX;
    void *data = NULL;
    MOE_TRY(take(s, &data, bytes, err));
    *out = (struct moe_source_tensor){tensor.dtype, data, bytes, "random weights"};
    if (vector) {
        float mean = strstr(name, "norm") ? 1.0f : 0.0f, *x = data;
        for (size_t i = 0; i < n; i++) x[i] = mean + 0.02f * moe_draws_normal(&s->draws);
        return MOE_OK;
    }
    struct block *b = &s->blocks[s->n_blocks - 1];
    b->n = n;
    b->tensor = tensor;
    return MOE_OK;
}

void moe_synthetic_draw(struct moe_synthetic *s) {
    for (const struct block *b = s->blocks; b < s->blocks + s->n_blocks; b++)
        if (b->n) moe_draws_fill(&s->draws, b->data, b->n, b->tensor, s->format);
}

struct moe_source moe_source_synthetic(struct moe_synthetic *s) {
    return (struct moe_source){s, has, get, true};
}
