#ifndef MOE_LOADER_FILE_H
#define MOE_LOADER_FILE_H
/* Regular files, read with every error told. */

#include <stddef.h>

#include "base/status.h"

/* Opens a regular file to read; the caller closes *fd. MOE_E_IO for anything else: absent, unreadable, a
 * directory, a device, a FIFO (which is never waited for). On failure *fd is -1. */
moe_status moe_file_open(int *fd, size_t *n_bytes, const char *file, moe_error *err);

/* Reads exactly n bytes at `offset`. MOE_E_IO if there are fewer; `file` names it in the message. */
moe_status moe_file_read(int fd, void *bytes, size_t n, size_t offset, const char *file, moe_error *err);

/* The directory that `path` is, or that it is a regular file of; the caller frees it. MOE_E_MEMORY. */
moe_status moe_file_directory(char **out, const char *path, moe_error *err);

/* The directory that the last name of `path`, which does not end in a slash, lies in; the caller frees it.
 * MOE_E_MEMORY. */
moe_status moe_path_parent(char **out, const char *path, moe_error *err);

/* The three texts one after the other; the caller frees it. MOE_E_MEMORY, and *out is NULL. */
moe_status moe_text_join(char **out, const char *a, const char *b, const char *c, moe_error *err);

#endif
