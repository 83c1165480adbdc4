/* A checkpoint of several files. The input is model.safetensors.index.json, then up to four shards, "s0" to
 * "s3", each after a byte 0xff: one byte that says how many bytes of data, then the header. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint.h"
#include "tests/fuzz/fuzz.h"

enum { N_SHARDS = 4, LENGTH = 8 };

static void set_shard(const struct fuzz_file *f, struct fuzz_bytes part) {
    uint8_t n_data;
    fuzz_take(&n_data, 1, &part);
    uint64_t length = part.n;
    uint8_t *bytes = calloc(1, LENGTH + part.n + n_data);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, &length, LENGTH);
    if (part.n) memcpy(bytes + LENGTH, part.data, part.n);
    fuzz_file_set(f, bytes, LENGTH + part.n + n_data);
    free(bytes);
}

static void check_tensors(const struct moe_checkpoint *ck) {
    char bytes[16];
    moe_error err;
    const size_t n_folder = strlen(fuzz_folder());
    for (size_t i = 0; i < moe_checkpoint_count(ck); i++) {
        const struct moe_tensor *t = moe_checkpoint_tensor(ck, i);
        const char *file = moe_checkpoint_file(ck, t);
        FUZZ_CHECK(moe_checkpoint_find(ck, t->name) == t);
        FUZZ_CHECK(strncmp(file, fuzz_folder(), n_folder) == 0 && file[n_folder] == '/');
        FUZZ_CHECK(!strchr(file + n_folder + 1, '/'));
        size_t n = t->n_bytes < sizeof bytes ? t->n_bytes : sizeof bytes;
        FUZZ_CHECK(moe_checkpoint_read(ck, t, bytes, n, 0, &err) == MOE_OK);
        FUZZ_CHECK(memcmp(bytes, t->data, n) == 0);
    }
    FUZZ_CHECK(moe_checkpoint_find(ck, "") == NULL || *moe_checkpoint_find(ck, "")->name == '\0');
    FUZZ_CHECK(moe_checkpoint_check(ck, &err) == MOE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct fuzz_file list, shards[N_SHARDS];
    struct fuzz_bytes rest = {data, n};
    struct moe_checkpoint *ck = (void *)&ck;
    moe_error err = fuzz_error();
    if (!*list.path) {
        fuzz_file_create(&list, "model.safetensors.index.json");
        for (int i = 0; i < N_SHARDS; i++)
            fuzz_file_create(&shards[i], (const char *[]){"s0", "s1", "s2", "s3"}[i]);
    }
    struct fuzz_bytes part = fuzz_part(&rest);
    fuzz_file_set(&list, part.data, part.n);
    for (size_t i = 0; i < N_SHARDS; i++) set_shard(&shards[i], fuzz_part(&rest));
    moe_status status = moe_checkpoint_open(&ck, fuzz_folder(), &err);
    if (fuzz_opened(status, ck, &err))
        check_tensors(ck);
    else
        FUZZ_CHECK(strncmp(err.message, fuzz_folder(), strlen(fuzz_folder())) == 0);
    moe_checkpoint_close(ck);
    return 0;
}
