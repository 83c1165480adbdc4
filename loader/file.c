#include "loader/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static moe_status refuse_kind(const char *file, mode_t mode, moe_error *err) {
    if (S_ISDIR(mode)) return MOE_FAIL(err, MOE_E_IO, "%s: is a directory, expected a file", file);
    return MOE_FAIL(err, MOE_E_IO, "%s: is no regular file", file);
}

moe_status moe_file_open(int *fd, size_t *n_bytes, const char *file, moe_error *err) {
    *n_bytes = 0;
    do /* O_NONBLOCK: a FIFO without a writer would hang the open itself; on a regular file it does nothing */
        *fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (*fd < 0 && errno == EINTR);
    if (*fd < 0) return MOE_FAIL(err, MOE_E_IO, "%s: cannot be opened: %s", file, strerror(errno));

    struct stat st;
    moe_status status = MOE_OK;
    if (fstat(*fd, &st) != 0)
        status = MOE_FAIL(err, MOE_E_IO, "%s: cannot be examined: %s", file, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = refuse_kind(file, st.st_mode, err);
    if (status != MOE_OK) {
        close(*fd);
        *fd = -1;
        return status;
    }
    *n_bytes = (size_t)st.st_size;
    return MOE_OK;
}

moe_status moe_file_read(int fd, void *bytes, size_t n, size_t offset, const char *file, moe_error *err) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)bytes + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return MOE_FAIL(err, MOE_E_IO, "%s: cannot be read: %s", file, strerror(errno));
        if (got == 0) return MOE_FAIL(err, MOE_E_IO, "%s: became shorter while it was read", file);
        done += (size_t)got;
    }
    return MOE_OK;
}

moe_status moe_text_join(char **out, const char *a, const char *b, const char *c, moe_error *err) {
    size_t n_a = strlen(a), n_b = strlen(b), n_c = strlen(c);
    *out = malloc(n_a + n_b + n_c + 1);
    if (!*out) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for its name", a);
    memcpy(*out, a, n_a);
    memcpy(*out + n_a, b, n_b);
    memcpy(*out + n_a + n_b, c, n_c + 1);
    return MOE_OK;
}

moe_status moe_path_parent(char **out, const char *path, moe_error *err) {
    const char *slash = strrchr(path, '/');
    MOE_TRY(moe_text_join(out, slash ? path : ".", "", "", err));
    if (slash) (*out)[slash == path ? 1 : slash - path] = '\0';
    return MOE_OK;
}

moe_status moe_file_directory(char **out, const char *path, moe_error *err) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) return moe_path_parent(out, path, err);
    return moe_text_join(out, path, "", "", err);
}
