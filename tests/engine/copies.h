#ifndef TESTS_ENGINE_COPIES_H
#define TESTS_ENGINE_COPIES_H
/* A copy of a checkpoint of tests/fixtures/exact in the directory of tests/loader/files.h, to be spoilt. */

#include <stddef.h>

/* Copies its files; the path of the directory. */
const char *copies_make(const char *fixture);
/* Overwrites bytes [n] of a tensor of the copy from `at` on; if that is negative, from its end. */
void copies_plant(const char *tensor, long at, const void *bytes, size_t n);
/* All bytes of a tensor of the copy; to be freed. */
unsigned char *copies_read(const char *tensor, size_t *n);
/* Replaces the first `old` in a file of the copy by `new`; in a safetensors file that must be as long. */
void copies_replace(const char *file, const char *old, const char *new);

#endif
