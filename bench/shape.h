#ifndef MOE_BENCH_SHAPE_H
#define MOE_BENCH_SHAPE_H
/* Synthetic models of fewer layers than their config.json says. */

#include <stddef.h>

/* The path of a copy of the config.json `file` with its first n_layers layers, which lasts as long as the
 * process; ends the program where that can't be. Free it with free(). */
char *shape_cut(const char *file, size_t n_layers);

#endif
