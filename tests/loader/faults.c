#include "tests/loader/faults.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum mode { OFF, ONCE, FOR_EVER, INTERRUPT, ONE_BYTE };

static struct {
    enum mode mode;
    size_t n_calls, fail_at;
    long n_blocks, n_descriptors, n_maps; /* taken and not given back */
} faults;

/* Whether this call is to fail. */
static bool strikes(int code) {
    if (faults.mode != ONCE && faults.mode != FOR_EVER) return false;
    faults.n_calls++;
    if (faults.n_calls < faults.fail_at || (faults.mode == ONCE && faults.n_calls > faults.fail_at))
        return false;
    errno = code;
    return true;
}

/* Whether this call, one that a signal may interrupt, is interrupted. */
static bool interrupts(void) {
    if (faults.mode != INTERRUPT || ++faults.n_calls != faults.fail_at) return false;
    errno = EINTR;
    return true;
}

static void *count_block(void *p) {
    if (p) faults.n_blocks++;
    return p;
}

/* The linker gives these names a meaning: __real_x is x itself, and every call of x comes to __wrap_x. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
int __real_open(const char *file, int flags, ...);
int __real_close(int fd);
int __real_fstat(int fd, struct stat *st);
int __real_lstat(const char *file, struct stat *st);
ssize_t __real_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t offset);
int __real_fsync(int fd);
int __real_mkdir(const char *path, mode_t mode);
int __real_rename(const char *from, const char *to);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
ssize_t __real_write(int fd, const void *bytes, size_t n);
off_t __real_lseek(int fd, off_t offset, int whence);
void *__real_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t n);
locale_t __real_newlocale(int mask, const char *name, locale_t base);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);
int __wrap_open(const char *file, int flags, ...);
int __wrap_close(int fd);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_lstat(const char *file, struct stat *st);
ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset);
int __wrap_fsync(int fd);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
off_t __wrap_lseek(int fd, off_t offset, int whence);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t n);
locale_t __wrap_newlocale(int mask, const char *name, locale_t base);

void *__wrap_malloc(size_t size) {
    return strikes(ENOMEM) ? NULL : count_block(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size) {
    return strikes(ENOMEM) ? NULL : count_block(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size) {
    if (strikes(ENOMEM)) return NULL;
    void *moved = __real_realloc(p, size);
    return p ? moved : count_block(moved);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return strikes(ENOMEM) ? NULL : count_block(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *p) {
    if (p) faults.n_blocks--;
    __real_free(p);
}

int __wrap_open(const char *file, int flags, ...) {
    va_list args;
    va_start(args, flags);
    int permissions = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if (interrupts() || strikes(EMFILE)) return -1;
    int fd = __real_open(file, flags, permissions);
    if (fd >= 0) faults.n_descriptors++;
    return fd;
}

int __wrap_close(int fd) {
    faults.n_descriptors--;
    int result = __real_close(fd); /* a close that fails closes nevertheless */
    return strikes(EIO) ? -1 : result;
}

int __wrap_fstat(int fd, struct stat *st) {
    return strikes(EIO) ? -1 : __real_fstat(fd, st);
}

int __wrap_lstat(const char *file, struct stat *st) {
    return strikes(EIO) ? -1 : __real_lstat(file, st);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset) {
    if (interrupts() || strikes(EIO)) return -1;
    return __real_pread(fd, bytes, faults.mode == ONE_BYTE && n > 1 ? 1 : n, offset);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n) {
    if (interrupts() || strikes(ENOSPC)) return -1;
    return __real_write(fd, bytes, faults.mode == ONE_BYTE && n > 1 ? 1 : n);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset) {
    if (interrupts() || strikes(ENOSPC)) return -1;
    return __real_pwrite(fd, bytes, faults.mode == ONE_BYTE && n > 1 ? 1 : n, offset);
}

int __wrap_fsync(int fd) {
    return strikes(EIO) ? -1 : __real_fsync(fd);
}

int __wrap_mkdir(const char *path, mode_t mode) {
    return strikes(ENOSPC) ? -1 : __real_mkdir(path, mode);
}

int __wrap_rename(const char *from, const char *to) {
    return strikes(EIO) ? -1 : __real_rename(from, to);
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return strikes(EINVAL) ? -1 : __real_renameat2(from_dir, from, to_dir, to, flags);
}

off_t __wrap_lseek(int fd, off_t offset, int whence) {
    return strikes(ESPIPE) ? -1 : __real_lseek(fd, offset, whence);
}

void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    if (strikes(faults.mode == ONCE && fd >= 0 ? ENODEV : ENOMEM)) return MAP_FAILED;
    void *map = __real_mmap(at, n, protection, flags, fd, offset);
    if (map != MAP_FAILED) faults.n_maps++;
    return map;
}

int __wrap_munmap(void *at, size_t n) {
    faults.n_maps--;
    return __real_munmap(at, n);
}

locale_t __wrap_newlocale(int mask, const char *name, locale_t base) {
    return strikes(ENOMEM) ? (locale_t)0 : __real_newlocale(mask, name, base);
}

static bool is_one_line(const char *message) {
    size_t n = strlen(message);
    return n > 0 && n < MOE_ERROR_SIZE && !strpbrk(message, "\r\n");
}

/* One run; whether the fault was reached. */
static bool run_once(const char *label, faults_body *body, void *context, moe_status expected, enum mode mode,
                     size_t fail_at) {
    static const char *const names[] = {"untouched", "once", "for ever", "interrupted", "byte by byte"};
    moe_error err = {{0}};
    faults.n_calls = 0;
    faults.fail_at = fail_at;
    long blocks = faults.n_blocks, descriptors = faults.n_descriptors, maps = faults.n_maps;
    faults.mode = mode;
    moe_status status = body(context, &err);
    faults.mode = OFF;
    bool reached = faults.n_calls >= fail_at;
    const char *name = names[mode];
    cr_assert(faults.n_blocks == blocks, "%s, %s %zu: %ld blocks leak", label, name, fail_at,
              faults.n_blocks - blocks);
    cr_assert(faults.n_descriptors == descriptors, "%s, %s %zu: %ld descriptors leak", label, name, fail_at,
              faults.n_descriptors - descriptors);
    cr_assert(faults.n_maps == maps, "%s, %s %zu: %ld maps leak", label, name, fail_at, faults.n_maps - maps);
    cr_assert(status == MOE_OK || is_one_line(err.message), "%s, %s %zu: no message of one line", label, name,
              fail_at);
    if (status == expected) return reached;
    cr_assert(reached && (mode == ONCE || mode == FOR_EVER), "%s, %s %zu: %s", label, name, fail_at,
              err.message);
    cr_assert(status == MOE_E_IO || status == MOE_E_MEMORY, "%s, %s %zu: status %d: %s", label, name, fail_at,
              (int)status, err.message);
    return true;
}

size_t faults_check(const char *label, faults_body *body, void *context, moe_status expected) {
    cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = __wrap_free};
    cJSON_InitHooks(&hooks);
    run_once(label, body, context, expected, OFF, 1);
    size_t n = 1;
    while (run_once(label, body, context, expected, ONCE, n)) n++;
    for (size_t i = 1; i < n; i++) run_once(label, body, context, expected, FOR_EVER, i);
    for (size_t i = 1; run_once(label, body, context, expected, INTERRUPT, i); i++) continue;
    run_once(label, body, context, expected, ONE_BYTE, 1);
    cJSON_InitHooks(NULL);
    return n - 1;
}
