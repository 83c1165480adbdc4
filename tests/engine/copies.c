#include "copies.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint.h"
#include "tests/loader/files.h"

static moe_error err;

static unsigned char *read_all(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    cr_assert(f && fseek(f, 0, SEEK_END) == 0, "%s", path);
    *n = (size_t)ftell(f);
    unsigned char *bytes = malloc(*n + 1);
    rewind(f);
    cr_assert(bytes && fread(bytes, 1, *n, f) == *n, "%s", path);
    fclose(f);
    return bytes;
}

const char *copies_make(const char *fixture) {
    char from[512], path[1024];
    snprintf(from, sizeof from, MOE_FIXTURES "/exact/%s", fixture);
    DIR *d = opendir(from);
    cr_assert(d, "%s", from);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || !strcmp(e->d_name, "reference.safetensors")) continue;
        size_t n;
        snprintf(path, sizeof path, "%s/%s", from, e->d_name);
        unsigned char *bytes = read_all(path, &n);
        files_write(e->d_name, bytes, n);
        free(bytes);
    }
    closedir(d);
    return files_path("");
}

struct place {
    char file[512];
    size_t at, n;
};

/* Tensors fill a file to its end, so the distance from there is where one lies. */
static struct place find(const char *tensor) {
    struct place p;
    struct moe_checkpoint *ck;
    struct moe_safetensors *st;
    cr_assert_eq(moe_checkpoint_open(&ck, files_path(""), &err), MOE_OK, "%s", err.message);
    const struct moe_tensor *t = moe_checkpoint_find(ck, tensor);
    cr_assert(t, "%s", tensor);
    snprintf(p.file, sizeof p.file, "%s", moe_checkpoint_file(ck, t));
    cr_assert_eq(moe_safetensors_open(&st, p.file, &err), MOE_OK, "%s", err.message);
    size_t before_end = 0;
    for (size_t i = moe_safetensors_count(st); i-- > 0;) {
        before_end += moe_safetensors_tensor(st, i)->n_bytes;
        if (!strcmp(moe_safetensors_tensor(st, i)->name, tensor)) break;
    }
    p.at = moe_safetensors_size(st) - before_end;
    p.n = t->n_bytes;
    moe_safetensors_close(st);
    moe_checkpoint_close(ck);
    return p;
}

void copies_plant(const char *tensor, long at, const void *bytes, size_t n) {
    const struct place p = find(tensor);
    long first = (at < 0 ? (long)p.n : 0) + at;
    cr_assert(first >= 0 && (size_t)first + n <= p.n, "%s: %ld", tensor, at);
    FILE *f = fopen(p.file, "r+b");
    cr_assert(f && fseek(f, (long)p.at + first, SEEK_SET) == 0 && fwrite(bytes, 1, n, f) == n);
    cr_assert_eq(fclose(f), 0);
}

unsigned char *copies_read(const char *tensor, size_t *n) {
    const struct place p = find(tensor);
    size_t n_file;
    unsigned char *bytes = read_all(p.file, &n_file);
    memmove(bytes, bytes + p.at, p.n);
    *n = p.n;
    return bytes;
}

void copies_replace(const char *file, const char *old, const char *new) {
    size_t n, n_old = strlen(old), n_new = strlen(new);
    unsigned char *bytes = read_all(files_path(file), &n), *at = memmem(bytes, n, old, n_old);
    cr_assert(at, "%s: %s", file, old);
    const unsigned char *rest = at + n_old;
    FILE *f = fopen(files_path(file), "wb");
    cr_assert(f);
    fwrite(bytes, 1, (size_t)(at - bytes), f);
    fwrite(new, 1, n_new, f);
    fwrite(rest, 1, (size_t)(bytes + n - rest), f);
    cr_assert_eq(fclose(f), 0);
    free(bytes);
}
