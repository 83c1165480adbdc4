#ifndef MOE_LOADER_STAGING_H
#define MOE_LOADER_STAGING_H
/* Files that appear whole or not at all: written in a directory of a temporary name beside the place that
 * they are to have, flushed to the disk, then renamed. */

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct moe_staging; /* opaque */

/* Makes the directory beside `place`, which is the path of a file or directory to be. MOE_E_IO. */
moe_status moe_staging_open(struct moe_staging **out, const char *place, moe_error *err);
/* The temporary path of NAME; the caller frees it. */
moe_status moe_staging_path(char **out, const struct moe_staging *s, const char *name, moe_error *err);
/* Creates NAME there, to be written and read; the caller closes *fd. */
moe_status moe_staging_create(int *fd, const struct moe_staging *s, const char *name, moe_error *err);
/* Copies the regular file `from` there. */
moe_status moe_staging_copy(const struct moe_staging *s, const char *name, const char *from, moe_error *err);
/* Whether there is a NAME beside the place already. */
bool moe_staging_has_beside(const struct moe_staging *s, const char *name);
/* Moves NAME beside the place, where there is none. It goes again if nothing is published after all. */
moe_status moe_staging_move_beside(struct moe_staging *s, const char *name, moe_error *err);

/* The directory becomes `place`. With `replace` it may take that of a directory of files, which is removed.
 */
moe_status moe_staging_publish_directory(struct moe_staging *s, bool replace, moe_error *err);
/* NAME becomes `place`. With `replace` it may take that of a file. */
moe_status moe_staging_publish_file(struct moe_staging *s, const char *name, bool replace, moe_error *err);
/* Removes all that was not published. NULL is fine. */
void moe_staging_close(struct moe_staging *s);

/* Bytes [n] at `offset` of a file that `name` stands for in messages. */
moe_status moe_file_write(int fd, const void *bytes, size_t n, size_t offset, const char *name,
                          moe_error *err);

#endif
