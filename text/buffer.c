#include "text/buffer.h"

#include <stdlib.h>
#include <string.h>

bool moe_array_grow(void **data, size_t *capacity, size_t n, size_t extra, size_t size) {
    if (extra <= *capacity - n) return true;
    if (extra > SIZE_MAX / size / 2 - n) return false;
    /* times size neither overflows: an array that is there takes at most half of the address space */
    size_t wanted = n + extra > 2 * *capacity ? n + extra : 2 * *capacity;
    if (wanted < 16) wanted = 16;
    void *moved = realloc(*data, wanted * size);
    if (!moved) return false;
    *data = moved;
    *capacity = wanted;
    return true;
}

bool moe_bytes_grow(struct moe_bytes *b, size_t extra) {
    void *data = b->data;
    if (!moe_array_grow(&data, &b->capacity, b->n, extra, 1)) return false;
    b->data = data;
    return true;
}

bool moe_bytes_append(struct moe_bytes *b, const char *text, size_t n) {
    if (!moe_bytes_grow(b, n)) return false;
    if (n) memcpy(b->data + b->n, text, n);
    b->n += n;
    return true;
}

void moe_bytes_free(struct moe_bytes *b) {
    free(b->data);
    *b = (struct moe_bytes){0};
}

char *moe_text_copy(const char *text, size_t n) {
    char *copy = malloc(n + 1);
    if (!copy) return NULL;
    if (n) memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

bool moe_ids_grow(struct moe_ids *v, size_t extra) {
    void *data = v->data;
    if (!moe_array_grow(&data, &v->capacity, v->n, extra, sizeof *v->data)) return false;
    v->data = data;
    return true;
}

bool moe_ids_push(struct moe_ids *v, uint32_t id) {
    if (!moe_ids_grow(v, 1)) return false;
    v->data[v->n++] = id;
    return true;
}

void moe_ids_free(struct moe_ids *v) {
    free(v->data);
    *v = (struct moe_ids){0};
}
