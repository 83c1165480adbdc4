#include "tests/check/seam.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static struct {
    atomic_bool is_on;
    enum seam_mode mode;
    size_t fail_at;
    atomic_size_t n_calls, n_taken;
    atomic_long n_blocks, n_descriptors, n_pages; /* taken and not given back; pages: mapped */
} seam;

/* Whether this call is to fail. */
static bool strikes(int code) {
    if (!atomic_load(&seam.is_on) || seam.mode == SEAM_INTERRUPT || seam.mode == SEAM_ONE_BYTE) return false;
    size_t n = atomic_fetch_add(&seam.n_calls, 1) + 1;
    if (seam.mode == SEAM_COUNT || n < seam.fail_at || (seam.mode == SEAM_ONCE && n > seam.fail_at))
        return false;
    errno = code;
    return true;
}

/* Whether this call, one that a signal may interrupt, is interrupted. */
static bool interrupts(void) {
    if (!atomic_load(&seam.is_on) || seam.mode != SEAM_INTERRUPT) return false;
    if (atomic_fetch_add(&seam.n_calls, 1) + 1 != seam.fail_at) return false;
    errno = EINTR;
    return true;
}

static size_t bytes_moved(size_t n) {
    return atomic_load(&seam.is_on) && seam.mode == SEAM_ONE_BYTE && n > 1 ? 1 : n;
}

static void *count_block(void *p) {
    if (p) seam.n_blocks++;
    seam.n_taken++;
    return p;
}

static void *count_stream(void *p) {
    if (p) seam.n_descriptors++;
    return p;
}

/* The linker gives these names a meaning: __real_x is x itself, and every call of x comes to __wrap_x. A line
 * for each: result, name, parameters. */
#define CALLS(CALL)                                                                                          \
    CALL(void *, malloc, (size_t size))                                                                      \
    CALL(void *, calloc, (size_t n, size_t size))                                                            \
    CALL(void *, realloc, (void *p, size_t size))                                                            \
    CALL(void *, aligned_alloc, (size_t alignment, size_t size))                                             \
    CALL(void, free, (void *p))                                                                              \
    CALL(char *, strdup, (const char *text))                                                                 \
    CALL(int, open, (const char *file, int flags, ...))                                                      \
    CALL(int, close, (int fd))                                                                               \
    CALL(FILE *, fopen, (const char *file, const char *mode))                                                \
    CALL(FILE *, open_memstream, (char **out, size_t *n))                                                    \
    CALL(int, fclose, (FILE * f))                                                                            \
    CALL(DIR *, opendir, (const char *path))                                                                 \
    CALL(int, closedir, (DIR * dir))                                                                         \
    CALL(int, fstat, (int fd, struct stat *st))                                                              \
    CALL(int, lstat, (const char *file, struct stat *st))                                                    \
    CALL(ssize_t, read, (int fd, void *bytes, size_t n))                                                     \
    CALL(ssize_t, pread, (int fd, void *bytes, size_t n, off_t offset))                                      \
    CALL(ssize_t, write, (int fd, const void *bytes, size_t n))                                              \
    CALL(ssize_t, pwrite, (int fd, const void *bytes, size_t n, off_t offset))                               \
    CALL(int, fsync, (int fd))                                                                               \
    CALL(int, fallocate, (int fd, int mode, off_t offset, off_t n))                                          \
    CALL(int, mkdir, (const char *path, mode_t mode))                                                        \
    CALL(int, rename, (const char *from, const char *to))                                                    \
    CALL(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags))       \
    CALL(off_t, lseek, (int fd, off_t offset, int whence))                                                   \
    CALL(void *, mmap, (void *at, size_t n, int protection, int flags, int fd, off_t offset))                \
    CALL(int, munmap, (void *at, size_t n))                                                                  \
    CALL(locale_t, newlocale, (int mask, const char *name, locale_t base))                                   \
    CALL(int, pthread_create,                                                                                \
         (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context))      \
    CALL(XXH3_state_t *, XXH3_createState, (void))
#define DECLARE(type, name, parameters)                                                                      \
    type __real_##name parameters;                                                                           \
    type __wrap_##name parameters;
CALLS(DECLARE)

/* ---- memory ------------------------------------------------------------------------------------------- */

void *__wrap_malloc(size_t size) {
    return strikes(ENOMEM) ? NULL : count_block(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size) {
    return strikes(ENOMEM) ? NULL : count_block(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size) {
    if (strikes(ENOMEM)) return NULL;
    void *moved = __real_realloc(p, size);
    if (!p) return count_block(moved);
    seam.n_taken++;
    return moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return strikes(ENOMEM) ? NULL : count_block(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *p) {
    if (p) seam.n_blocks--;
    __real_free(p);
}

char *__wrap_strdup(const char *text) {
    return strikes(ENOMEM) ? NULL : count_block(__real_strdup(text));
}

static long pages_of(size_t n) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (long)((n + page - 1) / page);
}

void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    if (strikes(seam.mode == SEAM_ONCE && fd >= 0 ? ENODEV : ENOMEM)) return MAP_FAILED;
    void *map = __real_mmap(at, n, protection, flags, fd, offset);
    if (map != MAP_FAILED) seam.n_pages += pages_of(n);
    seam.n_taken++;
    return map;
}

int __wrap_munmap(void *at, size_t n) {
    seam.n_pages -= pages_of(n); /* which may be a part of a map */
    return __real_munmap(at, n);
}

locale_t __wrap_newlocale(int mask, const char *name, locale_t base) {
    return strikes(ENOMEM) ? (locale_t)0 : __real_newlocale(mask, name, base);
}

XXH3_state_t *__wrap_XXH3_createState(void) {
    return strikes(ENOMEM) ? NULL : __real_XXH3_createState();
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *context) {
    if (strikes(EAGAIN)) return EAGAIN;
    return __real_pthread_create(thread, attributes, start, context);
}

/* ---- files -------------------------------------------------------------------------------------------- */

int __wrap_open(const char *file, int flags, ...) {
    va_list args;
    va_start(args, flags);
    int permissions = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if (interrupts() || strikes(EMFILE)) return -1;
    int fd = __real_open(file, flags, permissions);
    if (fd >= 0) seam.n_descriptors++;
    return fd;
}

int __wrap_close(int fd) {
    seam.n_descriptors--;
    int result = __real_close(fd); /* a close that fails closes nevertheless */
    return strikes(EIO) ? -1 : result;
}

FILE *__wrap_fopen(const char *file, const char *mode) {
    return strikes(EMFILE) ? NULL : count_stream(__real_fopen(file, mode));
}

FILE *__wrap_open_memstream(char **out, size_t *n) {
    if (strikes(ENOMEM)) return NULL;
    FILE *f = count_stream(__real_open_memstream(out, n));
    count_block(f); /* the buffer, which becomes the caller's when the stream is closed */
    return f;
}

int __wrap_fclose(FILE *f) {
    seam.n_descriptors--;
    return __real_fclose(f);
}

DIR *__wrap_opendir(const char *path) {
    return strikes(EMFILE) ? NULL : count_stream(__real_opendir(path));
}

int __wrap_closedir(DIR *dir) {
    seam.n_descriptors--;
    return __real_closedir(dir);
}

int __wrap_fstat(int fd, struct stat *st) {
    return strikes(EIO) ? -1 : __real_fstat(fd, st);
}

int __wrap_lstat(const char *file, struct stat *st) {
    return strikes(EIO) ? -1 : __real_lstat(file, st);
}

ssize_t __wrap_read(int fd, void *bytes, size_t n) {
    if (interrupts() || strikes(EIO)) return -1;
    return __real_read(fd, bytes, bytes_moved(n));
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset) {
    if (interrupts() || strikes(EIO)) return -1;
    return __real_pread(fd, bytes, bytes_moved(n), offset);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n) {
    if (fd == STDERR_FILENO) return __real_write(fd, bytes, n); /* what failed is to be said */
    if (interrupts() || strikes(ENOSPC)) return -1;
    return __real_write(fd, bytes, bytes_moved(n));
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset) {
    if (interrupts() || strikes(ENOSPC)) return -1;
    return __real_pwrite(fd, bytes, bytes_moved(n), offset);
}

int __wrap_fsync(int fd) {
    (void)fd; /* a test's files need not survive a loss of power, and there are thousands */
    return strikes(seam.mode == SEAM_ONCE ? EIO : EINVAL) ? -1 : 0;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t n) {
    if (interrupts() || strikes(ENOSPC)) return -1;
    return __real_fallocate(fd, mode, offset, n);
}

int __wrap_mkdir(const char *path, mode_t mode) {
    return strikes(ENOSPC) ? -1 : __real_mkdir(path, mode);
}

int __wrap_rename(const char *from, const char *to) {
    return strikes(EIO) ? -1 : __real_rename(from, to);
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (strikes(seam.mode == SEAM_ONCE ? EINVAL : ENOSYS)) return -1;
    return __real_renameat2(from_dir, from, to_dir, to, flags);
}

off_t __wrap_lseek(int fd, off_t offset, int whence) {
    return strikes(ESPIPE) ? -1 : __real_lseek(fd, offset, whence);
}

/* ---- control ------------------------------------------------------------------------------------------ */

void seam_begin(enum seam_mode mode, size_t n) {
    cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = __wrap_free};
    cJSON_InitHooks(&hooks);
    seam.mode = mode;
    seam.fail_at = n;
    atomic_store(&seam.n_calls, 0);
    atomic_store(&seam.n_taken, 0);
    atomic_store(&seam.is_on, true);
}

size_t seam_calls(void) {
    return atomic_load(&seam.n_calls);
}

void seam_end(void) {
    atomic_store(&seam.is_on, false);
    cJSON_InitHooks(NULL);
}

void seam_pause(void) {
    atomic_store(&seam.is_on, false);
}

void seam_resume(void) {
    atomic_store(&seam.is_on, true);
}

size_t seam_taken(void) {
    return atomic_load(&seam.n_taken);
}

struct seam_held seam_held(void) {
    return (struct seam_held){seam.n_blocks, seam.n_descriptors, seam.n_pages};
}
