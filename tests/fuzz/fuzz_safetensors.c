/* Any bytes as a safetensors file: refused with a message, or opened with every tensor inside the file. */
#include <string.h>
#include <unistd.h>

#include "loader/safetensors.h"
#include "tests/fuzz/fuzz.h"

/* Tensors lie one after the other, end where the file ends, and can be read. */
static void check_tensors(const struct moe_safetensors *st, const uint8_t *data, size_t n) {
    uint64_t header;
    FUZZ_CHECK(n >= sizeof header && moe_safetensors_size(st) == n);
    memcpy(&header, data, sizeof header);
    FUZZ_CHECK(header <= n - sizeof header);
    size_t at = sizeof header + (size_t)header;
    for (size_t i = 0; i < moe_safetensors_count(st); i++) {
        const struct moe_tensor *t = moe_safetensors_tensor(st, i);
        size_t n_bits = moe_dtype_bits(t->dtype);
        FUZZ_CHECK(t->dtype < MOE_DTYPE_COUNT && t->rank <= MOE_MAX_RANK);
        for (size_t d = 0; d < t->rank; d++) n_bits *= t->shape[d];
        FUZZ_CHECK(t->n_bytes == n_bits / 8 && t->n_bytes <= n - at);
        FUZZ_CHECK(memcmp(t->data, data + at, t->n_bytes) == 0);
        at += t->n_bytes;
        FUZZ_CHECK(strlen(t->name) < n);
        for (size_t j = 0; j < i; j++) FUZZ_CHECK(strcmp(t->name, moe_safetensors_tensor(st, j)->name) != 0);
    }
    FUZZ_CHECK(at == n);
}

static void check_read(const struct moe_safetensors *st) {
    unsigned char bytes[64];
    moe_error err = fuzz_error();
    for (size_t i = 0; i < moe_safetensors_count(st); i++) {
        const struct moe_tensor *t = moe_safetensors_tensor(st, i);
        size_t from = t->n_bytes / 2, n = t->n_bytes - from < sizeof bytes ? t->n_bytes - from : sizeof bytes;
        FUZZ_CHECK(moe_safetensors_read(st, t, bytes, n, from, &err) == MOE_OK);
        FUZZ_CHECK(memcmp(bytes, (const char *)t->data + from, n) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct fuzz_file file;
    struct moe_safetensors *st = (void *)&st;
    moe_error err = fuzz_error();
    if (!*file.path) fuzz_file_create(&file, "model.safetensors");
    fuzz_file_set(&file, data, n);
    moe_status status = moe_safetensors_open(&st, file.path, &err);
    if (!fuzz_opened(status, st, &err)) return 0;
    check_tensors(st, data, n);
    check_read(st);
    const char *format = moe_safetensors_metadata(st, "format");
    FUZZ_CHECK(!format || strlen(format) < n);
    FUZZ_CHECK(strcmp(moe_safetensors_file(st), file.path) == 0);
    FUZZ_CHECK(moe_safetensors_check(st, &err) == MOE_OK);
    FUZZ_CHECK(ftruncate(file.fd, (off_t)n - 1) == 0);
    FUZZ_CHECK(!fuzz_succeeded(moe_safetensors_check(st, &err), &err));
    moe_safetensors_close(st);
    return 0;
}
