#ifndef MOE_TESTS_FILES_H
#define MOE_TESTS_FILES_H
/* A directory for one test, and files made in it. */

#include <stdbool.h>
#include <stddef.h>

/* Suite set-up and tear-down. */
void files_begin(void);
void files_end(void);

/* The path of `name` in the directory ("" is the directory); valid for the next eight calls. */
const char *files_path(const char *name);
void files_write(const char *name, const void *bytes, size_t n);
void files_text(const char *name, const char *text);
/* A safetensors file: the length of `header`, the header, n_data bytes 0, 1, 2, ... */
void files_safetensors(const char *name, const char *header, size_t n_data);

/* Whether `text` contains `part`. */
bool contains(const char *text, const char *part);

#endif
