#ifndef TESTS_ENGINE_REQUESTS_H
#define TESTS_ENGINE_REQUESTS_H
/* Requests to generate from, served alone or through the slots of one session. */

#include <stddef.h>
#include <stdint.h>

#include "engine/moe.h"

enum { REQUEST_MAX = 256 };

struct request {
    size_t n_prompt, budget,
        arrives;                  /* budget: tokens to generate; arrives: the step at which it may start */
    uint32_t tokens[REQUEST_MAX]; /* prompt, then what was generated */
    size_t n_tokens;
    uint64_t hash; /* of every row of logits, in order of position */
};

/* n requests with prompts, budgets and arrivals that all differ. */
void requests_make(struct request *requests, size_t n, size_t vocab_size, uint64_t seed);

/* Serves the requests greedily through session slots 0 .. n_slots - 1: a step feeds, for every slot in use,
 * up to `chunk` rows of its prompt, whose length is announced, or its last token. Every row's logits are
 * hashed. */
void requests_serve(moe_session *session, size_t vocab_size, size_t n_slots, size_t chunk,
                    struct request *requests, size_t n);

/* Opens a checkpoint of tests/fixtures/exact; fails the test if it cannot. isa NULL: the best. */
moe_model *requests_open_model(const char *fixture, const char *isa);
moe_model *requests_open_form(const char *fixture, const char *isa, moe_weights_form form,
                              moe_precision precision);
moe_session *requests_open_session(const moe_model *model, const moe_session_options *options);

/* FNV-1a over bytes, continued from `hash` (start: requests_hash_start). */
extern const uint64_t requests_hash_start;
uint64_t requests_hash(uint64_t hash, const void *data, size_t n);

#endif
