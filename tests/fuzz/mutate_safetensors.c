/* A safetensors file whose length of the header stays right, most of the time, and whose data is as long as
 * the header says. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/mutate.h"

enum { LENGTH = 8, MOST_DATA = 4096 };

/* The largest second number of a pair after data_offsets: where the data ends. */
static size_t data_end(const uint8_t *header, size_t n) {
    static const char key[] = "data_offsets\":[";
    size_t most = 0;
    for (size_t i = 0; i + sizeof key < n; i++) {
        if (memcmp(header + i, key, sizeof key - 1) != 0) continue;
        size_t at = i + sizeof key - 1, end = 0;
        while (at < n && header[at] != ',' && header[at] != ']') at++;
        for (at++; at < n && header[at] >= '0' && header[at] <= '9' && end <= MOST_DATA; at++)
            end = end * 10 + (size_t)(header[at] - '0');
        if (end > most && end <= MOST_DATA) most = end;
    }
    return most;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
    struct mutate_random r = {seed};
    uint64_t length = 0;
    if (n >= LENGTH) memcpy(&length, data, LENGTH);
    if (n < LENGTH || length > n - LENGTH || max < n || mutate_below(&r, 16) == 0)
        return LLVMFuzzerMutate(data, n, max);
    size_t n_data = n - LENGTH - (size_t)length, room = max - LENGTH - n_data;
    uint8_t *header = malloc(room + 1);
    if (!header) return n;
    memcpy(header, data + LENGTH, (size_t)length);
    size_t n_header = mutate_json(header, (size_t)length, room, &r);
    n = mutate_splice(data, n, max, LENGTH, (size_t)length, header, n_header);
    free(header);
    length = n_header;
    memcpy(data, &length, LENGTH);
    if (mutate_below(&r, 4) > 0) {
        size_t end = LENGTH + n_header + data_end(data + LENGTH, n_header);
        if (end > max) return n;
        if (end > n) memset(data + n, 0, end - n);
        n = end;
    }
    return n;
}
