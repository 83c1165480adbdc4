/* An input of several JSON texts, with a byte 0xff between them: one of them is changed. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/mutate.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
    struct mutate_random r = {seed};
    size_t n_parts = 1, begin = 0;
    if (max < n || mutate_below(&r, 32) == 0) return LLVMFuzzerMutate(data, n, max);
    for (size_t i = 0; i < n; i++) n_parts += data[i] == 0xff;
    size_t wanted =
        mutate_below(&r, 2) ? 0 : mutate_below(&r, n_parts); /* the first is the one that matters */
    for (size_t i = 0; i < n && wanted > 0; i++) {
        if (data[i] != 0xff) continue;
        wanted--;
        begin = i + 1;
    }
    const uint8_t *next = n > begin ? memchr(data + begin, 0xff, n - begin) : NULL;
    size_t length = next ? (size_t)(next - data) - begin : n - begin, room = max - (n - length);
    uint8_t *part = malloc(room + 1);
    if (!part) return n;
    if (length) memcpy(part, data + begin, length);
    size_t changed = mutate_json(part, length, room, &r);
    n = mutate_splice(data, n, max, begin, length, part, changed);
    free(part);
    return n;
}
