#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"

void fuzz_fail(const char *file, int line, const char *claim) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
    abort();
}

/* ---- what errors promise ------------------------------------------------------------------------------ */

moe_error fuzz_error(void) {
    moe_error err;
    memset(&err, '\n', sizeof err);
    return err;
}

void fuzz_check_error(const moe_error *err) {
    size_t n = strnlen(err->message, sizeof err->message), length;
    FUZZ_CHECK(n > 0);
    FUZZ_CHECK(n < sizeof err->message);
    for (size_t i = 0; i < n; i += length) {
        uint32_t c = 0;
        length = moe_utf8_decode(&c, err->message + i, n - i);
        FUZZ_CHECK(length > 0);
        FUZZ_CHECK(c >= 0x20 && (c < 0x7f || c >= 0xa0));
    }
}

bool fuzz_succeeded(moe_status status, const moe_error *err) {
    FUZZ_CHECK(status >= MOE_OK && status <= MOE_E_CANCELLED);
    if (status != MOE_OK) fuzz_check_error(err);
    return status == MOE_OK;
}

bool fuzz_opened(moe_status status, const void *out, const moe_error *err) {
    FUZZ_CHECK((out != NULL) == (status == MOE_OK));
    return fuzz_succeeded(status, err);
}

/* ---- files -------------------------------------------------------------------------------------------- */

static char folder[64];

static void remove_folder(void) {
    DIR *dir = opendir(folder);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." refuse */
    if (dir) closedir(dir);
    rmdir(folder);
}

const char *fuzz_folder(void) {
    if (*folder) return folder;
    const char *above = getenv("TMPDIR");
    if (!above) above = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    int n = snprintf(folder, sizeof folder, "%s/moe-fuzz-XXXXXX", above);
    FUZZ_CHECK(n > 0 && (size_t)n < sizeof folder);
    FUZZ_CHECK(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    return folder;
}

void fuzz_file_create(struct fuzz_file *out, const char *name) {
    int n = snprintf(out->path, sizeof out->path, "%s/%s", fuzz_folder(), name);
    FUZZ_CHECK(n > 0 && (size_t)n < sizeof out->path);
    out->fd = open(out->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(out->fd >= 0);
}

void fuzz_file_set(const struct fuzz_file *f, const void *bytes, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t written = pwrite(f->fd, (const char *)bytes + done, n - done, (off_t)done);
        FUZZ_CHECK(written > 0);
        done += (size_t)written;
    }
    FUZZ_CHECK(ftruncate(f->fd, (off_t)n) == 0);
}

char *fuzz_read(size_t *n, const char *path) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f) perror(path);
    FUZZ_CHECK(f && fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode));
    /* exactly as large, so that a sanitizer sees who reads past its end */
    char *bytes = malloc(st.st_size ? (size_t)st.st_size : 1);
    FUZZ_CHECK(bytes != NULL);
    *n = fread(bytes, 1, (size_t)st.st_size, f);
    FUZZ_CHECK(*n == (size_t)st.st_size);
    fclose(f);
    return bytes;
}

/* ---- inputs ------------------------------------------------------------------------------------------- */

struct fuzz_bytes fuzz_part(struct fuzz_bytes *rest) {
    const uint8_t *end = rest->n ? memchr(rest->data, 0xff, rest->n) : NULL;
    struct fuzz_bytes part = {rest->data, end ? (size_t)(end - rest->data) : rest->n};
    size_t used = part.n + (end != NULL);
    if (used) rest->data += used;
    rest->n -= used;
    return part;
}

void fuzz_take(void *out, size_t n, struct fuzz_bytes *rest) {
    size_t there = n < rest->n ? n : rest->n;
    memset(out, 0, n);
    if (there) memcpy(out, rest->data, there);
    if (there) rest->data += there;
    rest->n -= there;
}
