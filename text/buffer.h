#ifndef MOE_TEXT_BUFFER_H
#define MOE_TEXT_BUFFER_H
/* Growing arrays. Every function that may take memory says whether it got it; after a no, nothing has
 * changed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct moe_bytes {
    char *data;
    size_t n, capacity;
};

struct moe_ids {
    uint32_t *data;
    size_t n, capacity;
};

/* Makes room for `extra` elements of `size` bytes beyond the `n` in use. *data may move. */
bool moe_array_grow(void **data, size_t *capacity, size_t n, size_t extra, size_t size);

bool moe_bytes_grow(struct moe_bytes *b, size_t extra);
bool moe_bytes_append(struct moe_bytes *b, const char *text, size_t n);
void moe_bytes_free(struct moe_bytes *b);

/* A terminated copy of text [n]; NULL: no memory. */
char *moe_text_copy(const char *text, size_t n);

bool moe_ids_grow(struct moe_ids *v, size_t extra);
bool moe_ids_push(struct moe_ids *v, uint32_t id);
void moe_ids_free(struct moe_ids *v);

#endif
