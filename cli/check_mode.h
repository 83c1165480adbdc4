#ifndef MOE_CLI_CHECK_MODE_H
#define MOE_CLI_CHECK_MODE_H
/* moe-run --check: whether a checkpoint is whole, and runs here. */

#include "cli/run_options.h"

/* The model at `path`, which is `directory` or lies in it; returns the exit status. */
int run_check(const struct run_options *o, const char *path, const char *directory);

#endif
