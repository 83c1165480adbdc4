#ifndef MOE_TESTS_MUTATE_H
#define MOE_TESTS_MUTATE_H
/* Changes to inputs that keep what would otherwise stop everything: JSON that stays JSON, parts that stay
 * apart, lengths that still fit. For libFuzzer alone. */

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's own changes, and what it calls instead of them. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

struct mutate_random {
    uint64_t state;
};
/* A number below n; 0 if n is 0. */
size_t mutate_below(struct mutate_random *r, size_t n);

/* data [n] with bytes [at, at + n_old) replaced by `new` [n_new], which may lie inside of it. Returns the new
 * length; what does not fit `max` changes nothing. */
size_t mutate_splice(uint8_t *data, size_t n, size_t max, size_t at, size_t n_old, const void *new,
                     size_t n_new);

/* One change of a JSON text, mostly such that it stays JSON: a value replaced by another, a member left out
 * or doubled, a number at a border; now and then one of libFuzzer's. */
size_t mutate_json(uint8_t *text, size_t n, size_t max, struct mutate_random *r);

#endif
