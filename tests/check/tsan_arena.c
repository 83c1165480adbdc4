/* Builds with the thread sanitizer only. Criterion hands tests their data in an arena that it maps at an
 * address drawn by rand_r: 0x200000000000 + (rand_r & 0x3fffff) * 2^24. The sanitizer keeps its shadow in
 * nearly all of that range and refuses the mapping. So this definition, which Criterion's shared library
 * resolves to, draws from the part that the sanitizer leaves to programs: 0x550000000000 to 0x560000000000.
 */

#include <stdlib.h>

__attribute__((visibility("default"))) int rand_r(unsigned int *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return (int)(0x350000u + (*seed >> 16));
}
