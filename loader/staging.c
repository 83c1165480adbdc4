#include "loader/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"

enum { MAX_TRIES = 100, MAX_BESIDE = 8, COPY_BYTES = 1 << 16 };

struct moe_staging {
    char *place, *parent, *dir;
    DIR *files; /* of dir: open from the start, so that removing them needs nothing more */
    bool is_published;
    char *beside[MAX_BESIDE]; /* paths of what was moved there */
    size_t n_beside;
};

static moe_status fail_io(const char *file, const char *what, moe_error *err) {
    return MOE_FAIL(err, MOE_E_IO, "%s: cannot be %s: %s", file, what, strerror(errno));
}

moe_status moe_file_write(int fd, const void *bytes, size_t n, size_t offset, const char *name,
                          moe_error *err) {
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, (const char *)bytes + done, n - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_io(name, "written", err);
        done += (size_t)put;
    }
    return MOE_OK;
}

/* Never over something. Not every file system can look and rename in one step. */
static int rename_new(const char *from, const char *to) {
    struct stat st;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    if (lstat(to, &st) != 0) return rename(from, to);
    errno = EEXIST;
    return -1;
}

static moe_status open_directory(int *fd, const char *dir, moe_error *err) {
    do *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (*fd < 0 && errno == EINTR);
    return *fd < 0 ? fail_io(dir, "opened", err) : MOE_OK;
}

/* Closes the directory as well. */
static moe_status sync_directory(int fd, const char *dir, moe_error *err) {
    moe_status status = fsync(fd) != 0 && errno != EINVAL ? fail_io(dir, "flushed", err) : MOE_OK;
    close(fd);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

/* The path without slashes at its end, and the directory it lies in. */
static moe_status part_place(struct moe_staging *s, const char *place, moe_error *err) {
    MOE_TRY(moe_text_join(&s->place, place, "", "", err));
    size_t n = strlen(place);
    while (n > 1 && place[n - 1] == '/') s->place[--n] = '\0';
    return moe_path_parent(&s->parent, s->place, err);
}

/* mkdtemp would give it the permissions of a private directory. */
static moe_status make_directory(struct moe_staging *s, moe_error *err) {
    char name[64];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "/.moe-pack-%ld-%d", (long)getpid(), i);
        free(s->dir);
        s->dir = NULL;
        MOE_TRY(moe_text_join(&s->dir, s->parent, name, "", err));
        if (mkdir(s->dir, 0777) == 0) return MOE_OK;
        if (errno == EEXIST && i < MAX_TRIES) continue;
        moe_status status = fail_io(s->place, "created", err);
        free(s->dir);
        s->dir = NULL;
        return status;
    }
}

static moe_status open_listing(DIR **out, const char *dir, moe_error *err) {
    *out = opendir(dir);
    return *out ? MOE_OK : fail_io(dir, "opened", err);
}

moe_status moe_staging_open(struct moe_staging **out, const char *place, moe_error *err) {
    *out = NULL;
    struct moe_staging *s = calloc(1, sizeof *s);
    if (!s) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", place);
    moe_status status = part_place(s, place, err);
    if (status == MOE_OK) status = make_directory(s, err);
    if (status == MOE_OK) status = open_listing(&s->files, s->dir, err);
    if (status == MOE_OK)
        *out = s;
    else
        moe_staging_close(s);
    return status;
}

/* ---- what is in it ------------------------------------------------------------------------------------ */

moe_status moe_staging_path(char **out, const struct moe_staging *s, const char *name, moe_error *err) {
    return moe_text_join(out, s->dir, "/", name, err);
}

moe_status moe_staging_create(int *fd, const struct moe_staging *s, const char *name, moe_error *err) {
    char *path;
    *fd = -1;
    MOE_TRY(moe_staging_path(&path, s, name, err));
    do *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    while (*fd < 0 && errno == EINTR);
    moe_status status = *fd < 0 ? fail_io(path, "created", err) : MOE_OK;
    free(path);
    return status;
}

static moe_status copy_bytes(int to, int from, size_t n_bytes, const char *name, const char *from_name,
                             moe_error *err) {
    char *bytes = malloc(COPY_BYTES);
    if (!bytes) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", from_name);
    moe_status status = MOE_OK;
    for (size_t at = 0, n; at < n_bytes && status == MOE_OK; at += n) {
        n = n_bytes - at < COPY_BYTES ? n_bytes - at : COPY_BYTES;
        status = moe_file_read(from, bytes, n, at, from_name, err);
        if (status == MOE_OK) status = moe_file_write(to, bytes, n, at, name, err);
    }
    if (status == MOE_OK && fsync(to) != 0) status = fail_io(name, "flushed", err);
    free(bytes);
    return status;
}

moe_status moe_staging_copy(const struct moe_staging *s, const char *name, const char *from, moe_error *err) {
    int source, copy;
    size_t n_bytes;
    MOE_TRY(moe_file_open(&source, &n_bytes, from, err));
    moe_status status = moe_staging_create(&copy, s, name, err);
    if (status == MOE_OK) {
        status = copy_bytes(copy, source, n_bytes, name, from, err);
        if (close(copy) != 0 && status == MOE_OK) status = fail_io(name, "completed", err);
    }
    close(source);
    return status;
}

bool moe_staging_has_beside(const struct moe_staging *s, const char *name) {
    char *path;
    struct stat st;
    if (moe_text_join(&path, s->parent, "/", name, NULL) != MOE_OK) return false;
    bool found = lstat(path, &st) == 0;
    free(path);
    return found;
}

moe_status moe_staging_move_beside(struct moe_staging *s, const char *name, moe_error *err) {
    char *from, *to = NULL;
    if (s->n_beside == MAX_BESIDE) return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: too many files", name);
    MOE_TRY(moe_staging_path(&from, s, name, err));
    moe_status status = moe_text_join(&to, s->parent, "/", name, err);
    if (status == MOE_OK && rename_new(from, to) != 0) status = fail_io(to, "created", err);
    free(from);
    if (status == MOE_OK)
        s->beside[s->n_beside++] = to;
    else
        free(to);
    return status;
}

/* ---- the end ------------------------------------------------------------------------------------------ */

/* The directory of files that has the temporary name; what cannot be removed stays. */
static void remove_directory(struct moe_staging *s) {
    if (s->files) rewinddir(s->files); /* to see what came after it was opened */
    for (struct dirent *e; s->files && (e = readdir(s->files));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(s->files), e->d_name, 0);
    if (s->files) closedir(s->files);
    rmdir(s->dir);
}

/* What is at the place takes the temporary name, to be removed under it. */
static moe_status exchange(struct moe_staging *s, moe_error *err) {
    DIR *replaced;
    MOE_TRY(open_listing(&replaced, s->place, err));
    if (renameat2(AT_FDCWD, s->dir, AT_FDCWD, s->place, RENAME_EXCHANGE) != 0) {
        moe_status status = fail_io(s->place, "replaced", err);
        closedir(replaced);
        return status;
    }
    closedir(s->files);
    s->files = replaced;
    return MOE_OK;
}

static moe_status rename_directory(struct moe_staging *s, bool exists, moe_error *err) {
    int fd;
    MOE_TRY(open_directory(&fd, s->dir, err));
    MOE_TRY(sync_directory(fd, s->dir, err));
    if (exists) return exchange(s, err);
    if (rename_new(s->dir, s->place) != 0) return fail_io(s->place, "created", err);
    closedir(s->files);
    s->files = NULL;
    return MOE_OK;
}

static moe_status rename_file(struct moe_staging *s, const char *name, bool exists, moe_error *err) {
    char *path;
    MOE_TRY(moe_staging_path(&path, s, name, err));
    int failed = exists ? rename(path, s->place) : rename_new(path, s->place);
    moe_status status = failed ? fail_io(s->place, "created", err) : MOE_OK;
    free(path);
    return status;
}

/* NAME, or with NULL the directory. Once it has its name only the disk can fail. */
static moe_status publish(struct moe_staging *s, const char *name, bool replace, moe_error *err) {
    struct stat st;
    int parent;
    bool exists = lstat(s->place, &st) == 0;
    if (exists && (!replace || S_ISDIR(st.st_mode) != !name))
        return MOE_FAIL(err, MOE_E_IO, "%s: is there already", s->place);
    MOE_TRY(open_directory(&parent, s->parent, err));
    moe_status status = name ? rename_file(s, name, exists, err) : rename_directory(s, exists, err);
    if (status != MOE_OK) {
        close(parent);
        return status;
    }
    s->is_published = true;
    return sync_directory(parent, s->parent, err);
}

moe_status moe_staging_publish_directory(struct moe_staging *s, bool replace, moe_error *err) {
    return publish(s, NULL, replace, err);
}

moe_status moe_staging_publish_file(struct moe_staging *s, const char *name, bool replace, moe_error *err) {
    return publish(s, name, replace, err);
}

void moe_staging_close(struct moe_staging *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_beside; i++) {
        if (!s->is_published) unlink(s->beside[i]);
        free(s->beside[i]);
    }
    if (s->dir) remove_directory(s); /* empty, gone, or what was replaced */
    free(s->dir);
    free(s->parent);
    free(s->place);
    free(s);
}
