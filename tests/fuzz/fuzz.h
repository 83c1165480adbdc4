#ifndef MOE_TESTS_FUZZ_H
#define MOE_TESTS_FUZZ_H
/* What the fuzz targets share: claims whose failure is a crash, files that cost little, inputs of several
 * parts. A target is one file that defines LLVMFuzzerTestOneInput; libFuzzer drives it, or replay.c.
 * docs/fuzzing.md */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The target. Returns 0: the input may be kept. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Aborts, and says so, unless the condition holds. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *claim);

/* An error that says nothing yet: fuzz_check_error sees whether it was written. */
moe_error fuzz_error(void);
/* The message is one line, not empty, terminated, valid UTF-8 without control characters. */
void fuzz_check_error(const moe_error *err);
/* What every call that opens something promises: *out is there after success, else NULL beside a message.
 * Returns whether it succeeded. The status comes from a statement of its own: within the call, *out might be
 * read before it is written. */
bool fuzz_opened(moe_status status, const void *out, const moe_error *err);
/* The same of a call that hands over nothing. */
bool fuzz_succeeded(moe_status status, const moe_error *err);

/* A directory of this process's own, in memory where the system has such; removed at exit. */
const char *fuzz_folder(void);

/* A file in it that is written anew for every input. */
struct fuzz_file {
    int fd;
    char path[160];
};
void fuzz_file_create(struct fuzz_file *out, const char *name);
void fuzz_file_set(const struct fuzz_file *f, const void *bytes, size_t n);
/* Reads a whole file of the source tree: what a target needs besides its input. The caller frees it. */
char *fuzz_read(size_t *n, const char *path);

struct fuzz_bytes {
    const uint8_t *data; /* [n] */
    size_t n;
};
/* Takes what comes before the next byte 0xff, which no UTF-8 has, from `rest`, and that byte with it. At the
 * end, nothing. */
struct fuzz_bytes fuzz_part(struct fuzz_bytes *rest);
/* Takes n bytes into out, zeros where they are missing. */
void fuzz_take(void *out, size_t n, struct fuzz_bytes *rest);

#endif
