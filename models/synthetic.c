#include "models/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/machine.h"

enum { DRAWS = 1 << 16 };

struct block {
    void *data;
    size_t bytes, n_weights; /* n_weights of a matrix still to be drawn; 0: a vector, which has its values */
};

struct moe_synthetic {
    uint64_t state;
    size_t available; /* bytes that may still be taken: pages are only found missing when they are written */
    uint16_t normal[DRAWS]; /* BF16 */
    struct block *blocks;
    size_t n_blocks, capacity;
};

/* SplitMix64 (Steele, Lea and Flood 2014) */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *state) {
    return ((double)(next(state) >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller 1958 */
static float normal(uint64_t *state) {
    double r = sqrt(-2 * log(uniform(state)));
    return (float)(r * cos(6.283185307179586 * uniform(state)));
}

moe_status moe_synthetic_open(struct moe_synthetic **out, uint64_t seed, moe_error *err) {
    struct moe_synthetic *s = *out = calloc(1, sizeof *s);
    if (!s) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    s->state = seed;
    s->available = moe_memory_available();
    for (size_t i = 0; i < DRAWS; i++) {
        float x = 0.02f * normal(&s->state);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        s->normal[i] = (uint16_t)(bits >> 16);
    }
    return MOE_OK;
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

/* Every tensor is there that is asked for, plain, but for those that a checkpoint has in place of others:
 * the names of stacked and fused experts that most families share, and what goes with quantised weights. */
static bool has(void *context, enum moe_dtype *dtype, const char *name) {
    static const char *const absent[] = {"switch_mlp", "experts.gate_up_proj", ".scales",
                                         "_scales",    "_scale_inv",           "_blocks"};
    (void)context;
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (strstr(name, absent[i])) return false;
    if (dtype) *dtype = is_vector(name, 2) ? MOE_DTYPE_F32 : MOE_DTYPE_BF16;
    return true;
}

static moe_status get(void *context, struct moe_source_tensor *out, const char *name, const size_t *shape,
                      size_t rank, uint32_t dtypes, moe_error *err) {
    struct moe_synthetic *s = context;
    size_t n = 1, bytes;
    (void)dtypes; /* only ever the plain ones */
    for (size_t i = 0; i < rank; i++)
        if (__builtin_mul_overflow(n, shape[i], &n)) n = SIZE_MAX / 8;
    bool vector = is_vector(name, rank);
    if (__builtin_mul_overflow(n, vector ? sizeof(float) : sizeof(uint16_t), &bytes)) bytes = SIZE_MAX;
    void *data = NULL;
    MOE_TRY(take(s, &data, bytes, err));
    *out = (struct moe_source_tensor){vector ? MOE_DTYPE_F32 : MOE_DTYPE_BF16, data, bytes, "random weights"};
    if (vector) {
        float mean = strstr(name, "norm") ? 1.0f : 0.0f, *x = data;
        for (size_t i = 0; i < n; i++) x[i] = mean + 0.02f * normal(&s->state);
        return MOE_OK;
    }
    s->blocks[s->n_blocks - 1].n_weights = n;
    return MOE_OK;
}

void moe_synthetic_draw(struct moe_synthetic *s) {
    for (struct block *b = s->blocks; b < s->blocks + s->n_blocks; b++) {
        uint16_t *w = b->data;
        size_t i = 0;
        for (; i + 4 <= b->n_weights; i += 4) { /* one draw of 64 bits picks four weights */
            uint64_t r = next(&s->state);
            for (size_t j = 0; j < 4; j++) w[i + j] = s->normal[r >> 16 * j & (DRAWS - 1)];
        }
        for (; i < b->n_weights; i++) w[i] = s->normal[next(&s->state) & (DRAWS - 1)];
    }
}

struct moe_source moe_source_synthetic(struct moe_synthetic *s) {
    return (struct moe_source){s, has, get};
}
