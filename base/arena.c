#include "base/arena.h"

#include <assert.h>
#include <sys/mman.h>

void *moe_arena_take(struct moe_arena *a, size_t n, size_t size) {
    size_t bytes, rounded, end;
    if (__builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(bytes, MOE_ALIGN - 1, &rounded) ||
        __builtin_add_overflow(a->used, rounded & ~(size_t)(MOE_ALIGN - 1), &end)) {
        a->overflow = true;
        return NULL;
    }
    unsigned char *p = a->base ? a->base + a->used : NULL;
    assert(!a->base || end <= a->size);
    a->used = end;
    return p;
}

moe_status moe_arena_back(struct moe_arena *a, moe_error *err) {
    if (a->overflow) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: the size wanted overflows");
    size_t size = a->used ? a->used : 1;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory: %zu bytes wanted", size);
    /* large pages where the system has some: rows of a cache and of activations lie far apart. Advice, which
     * may be refused. */
    madvise(p, size, MADV_HUGEPAGE);
    *a = (struct moe_arena){.base = p, .size = size};
    return MOE_OK;
}

void moe_arena_free(struct moe_arena *a) {
    if (a->base) munmap(a->base, a->size);
    *a = (struct moe_arena){0};
}
