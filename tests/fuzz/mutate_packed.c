/* A packed file behind one byte: a change of its header, of the numbers that say where escapes are, or of any
 * byte; and half of the time checksums that are right again. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pack_work.h"
#include "loader/safetensors.h"
#include "models/packed_tensor.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

enum { KIND = 1, LENGTH = 8 };

static uint64_t checksum(const struct moe_tensor *t) {
    struct moe_pack_hash hash;
    moe_error err;
    FUZZ_CHECK(moe_pack_hash_begin(&hash, moe_dtype_name(t->dtype), t->shape, t->rank, &err) == MOE_OK);
    moe_pack_hash_add(&hash, t->data, t->n_bytes);
    return moe_pack_hash_end(&hash);
}

/* Writes the checksum of each tensor over the one that the header has. */
static void repair_checksums(uint8_t *file, size_t n) {
    static struct fuzz_file copy;
    struct moe_safetensors *st;
    moe_error err;
    if (!*copy.path) fuzz_file_create(&copy, "mutated.safetensors");
    fuzz_file_set(&copy, file, n);
    if (moe_safetensors_open(&st, copy.path, &err) != MOE_OK) return;
    for (size_t i = 0; i < moe_safetensors_count(st); i++) {
        const struct moe_tensor *t = moe_safetensors_tensor(st, i);
        char key[512], digits[17];
        int length = snprintf(key, sizeof key, "\"" MOE_PACK_HASH_PREFIX "%s\":\"", t->name);
        uint8_t *at = length < (int)sizeof key ? memmem(file, n, key, (size_t)length) : NULL;
        if (!at || at + length + 16 > file + n) continue;
        snprintf(digits, sizeof digits, "%016" PRIx64, checksum(t));
        memcpy(at + length, digits, 16);
    }
    moe_safetensors_close(st);
}

/* One number of 32 bits in a tensor NAME_escapes; false if there is none. */
static bool change_number(uint8_t *file, size_t n, struct mutate_random *r) {
    static struct fuzz_file copy;
    struct moe_safetensors *st;
    moe_error err;
    bool changed = false;
    if (!*copy.path) fuzz_file_create(&copy, "numbers.safetensors");
    fuzz_file_set(&copy, file, n);
    if (moe_safetensors_open(&st, copy.path, &err) != MOE_OK) return false;
    size_t count = moe_safetensors_count(st), first = mutate_below(r, count);
    for (size_t i = 0; i < count && !changed; i++) {
        const struct moe_tensor *t = moe_safetensors_tensor(st, (first + i) % count);
        if (!moe_pack_has_suffix(t->name, MOE_ESCAPES_SUFFIX) || t->n_bytes < 4) continue;
        size_t data = n, at;
        for (size_t j = 0; j < count; j++) data -= moe_safetensors_tensor(st, j)->n_bytes;
        at = data + (size_t)((const char *)t->data - (const char *)moe_safetensors_tensor(st, 0)->data);
        at += mutate_below(r, t->n_bytes / 4 < 64 ? t->n_bytes / 4 : 64) * 4;
        uint32_t number;
        memcpy(&number, file + at, 4);
        const uint32_t choices[] = {number + 1, number - 1, 0, 1, 2, UINT32_MAX, 1u << 31, number * 2};
        number = choices[mutate_below(r, sizeof choices / sizeof *choices)];
        memcpy(file + at, &number, 4);
        changed = true;
    }
    moe_safetensors_close(st);
    return changed;
}

static size_t change_header(uint8_t *file, size_t n, size_t max, struct mutate_random *r) {
    uint64_t length;
    memcpy(&length, file, LENGTH);
    size_t room = max - (n - (size_t)length);
    uint8_t *header = malloc(room + 1);
    if (!header) return n;
    memcpy(header, file + LENGTH, (size_t)length);
    size_t n_header = mutate_json(header, (size_t)length, room, r);
    n = mutate_splice(file, n, max, LENGTH, (size_t)length, header, n_header);
    free(header);
    length = n_header;
    memcpy(file, &length, LENGTH);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
    struct mutate_random r = {seed};
    uint64_t length = UINT64_MAX;
    if (n >= KIND + LENGTH) memcpy(&length, data + KIND, LENGTH);
    if (n < KIND + LENGTH || length > n - KIND - LENGTH || max < n || mutate_below(&r, 16) == 0)
        return LLVMFuzzerMutate(data, n, max);
    uint8_t *file = data + KIND;
    size_t n_file = n - KIND, begin = LENGTH + (size_t)length;
    switch (mutate_below(&r, 4)) {
    case 0:
        n_file = change_header(file, n_file, max - KIND, &r);
        break;
    case 1: /* a few bytes of the data */
        for (size_t i = mutate_below(&r, 4) + 1; i > 0 && n_file > begin; i--)
            file[begin + mutate_below(&r, n_file - begin)] = (uint8_t)mutate_below(&r, 256);
        break;
    default:
        if (!change_number(file, n_file, &r)) n_file = LLVMFuzzerMutate(file, n_file, max - KIND);
    }
    if (mutate_below(&r, 2)) repair_checksums(file, n_file);
    return KIND + n_file;
}
