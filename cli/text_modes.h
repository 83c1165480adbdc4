#ifndef MOE_CLI_TEXT_MODES_H
#define MOE_CLI_TEXT_MODES_H
/* moe-run --tokenize and --detokenize: a line of standard input in, a line of standard output out. */

#include "cli/run_options.h"

/* Returns the exit status. */
int run_text_mode(const struct run_options *o, const char *directory);

#endif
