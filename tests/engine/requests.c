#include "requests.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

const uint64_t requests_hash_start = 0xcbf29ce484222325u;

uint64_t requests_hash(uint64_t hash, const void *data, size_t n) {
    for (const unsigned char *p = data; n--; p++) hash = (hash ^ *p) * 0x100000001b3u;
    return hash;
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

void requests_make(struct request *requests, size_t n, size_t vocab_size, uint64_t seed) {
    for (size_t i = 0; i < n; i++) {
        struct request *r = &requests[i];
        *r = (struct request){.n_prompt = 1 + (i * 29 + 3) % 97,
                              .budget = 1 + (i * 7) % 13,
                              .arrives = i * i % 11,
                              .hash = requests_hash_start};
        r->n_tokens = r->n_prompt;
        for (size_t j = 0; j < r->n_prompt; j++) r->tokens[j] = (uint32_t)(next_random(&seed) % vocab_size);
    }
}

static uint32_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (uint32_t)best;
}

struct slot {
    struct request *request; /* NULL: free */
    size_t fed, feeding;     /* rows fed before, and in this step */
};

static size_t fill_step(moe_row *rows, struct slot *slots, size_t n_slots, size_t chunk) {
    size_t n = 0;
    for (size_t s = 0; s < n_slots; s++) {
        struct slot *slot = &slots[s];
        if (!slot->request) continue;
        size_t left = slot->request->n_tokens - slot->fed;
        slot->feeding = left < chunk ? left : chunk;
        for (size_t i = 0; i < slot->feeding; i++, n++)
            rows[n] = (moe_row){.sequence = (uint32_t)s,
                                .position = (uint32_t)(slot->fed + i),
                                .token = slot->request->tokens[slot->fed + i],
                                .logits = true};
    }
    return n;
}

/* Takes the logits of a step; a request that has its budget leaves its slot. Returns how many left. */
static size_t take_step(moe_session *session, size_t vocab_size, struct slot *slots, size_t n_slots) {
    size_t at = 0, done = 0;
    for (size_t s = 0; s < n_slots; s++) {
        struct slot *slot = &slots[s];
        if (!slot->request) continue;
        struct request *r = slot->request;
        for (size_t i = 0; i < slot->feeding; i++, at++)
            r->hash = requests_hash(r->hash, moe_session_logits(session, at), vocab_size * sizeof(float));
        slot->fed += slot->feeding;
        if (slot->fed < r->n_tokens) continue;
        r->tokens[r->n_tokens++] = argmax(moe_session_logits(session, at - 1), vocab_size);
        if (r->n_tokens < r->n_prompt + r->budget) continue;
        slot->request = NULL;
        done++;
    }
    return done;
}

void requests_serve(moe_session *session, size_t vocab_size, size_t n_slots, size_t chunk,
                    struct request *requests, size_t n) {
    struct slot *slots = calloc(n_slots, sizeof *slots);
    moe_row *rows = calloc(n_slots * chunk, sizeof *rows);
    size_t started = 0, done = 0;
    for (size_t step = 0; done < n; step++) {
        for (size_t s = 0; s < n_slots; s++)
            if (!slots[s].request && started < n && requests[started].arrives <= step) {
                moe_session_expect(session, s, requests[started].n_prompt);
                slots[s] = (struct slot){.request = &requests[started++]};
            }
        size_t n_rows = fill_step(rows, slots, n_slots, chunk);
        moe_error err;
        cr_assert_eq(moe_session_eval(session, rows, n_rows, &err), MOE_OK, "%s", err.message);
        done += take_step(session, vocab_size, slots, n_slots);
    }
    free(rows);
    free(slots);
}

moe_model *requests_open_form(const char *fixture, const char *isa, moe_weights_form form,
                              moe_precision precision) {
    char path[1024];
    moe_error err;
    moe_model *model;
    const moe_model_options options = {.isa = isa, .precision = precision, .weights = form, .n_threads = 2};
    snprintf(path, sizeof path, MOE_FIXTURES "/exact/%s", fixture);
    cr_assert_eq(moe_model_open(&model, path, &options, &err), MOE_OK, "%s", err.message);
    return model;
}

moe_model *requests_open_model(const char *fixture, const char *isa) {
    return requests_open_form(fixture, isa, MOE_WEIGHTS_MAPPED, MOE_PRECISION_FP32);
}

moe_session *requests_open_session(const moe_model *model, const moe_session_options *options) {
    moe_session *session;
    moe_error err;
    cr_assert_eq(moe_session_open(&session, model, options, &err), MOE_OK, "%s", err.message);
    return session;
}
