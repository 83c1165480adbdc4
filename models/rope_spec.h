#ifndef MOE_MODELS_ROPE_SPEC_H
#define MOE_MODELS_ROPE_SPEC_H
/* Rotary position embedding, resolved: the frequencies, whatever rope_type they come from. */

#include "loader/json.h"

struct moe_rope_spec {
    size_t n_pairs;  /* rotated pairs per head: (t, t + n_pairs) */
    float *inv_freq; /* [n_pairs], owned */
    float attention; /* factor on cosine and sine: 1 but for yarn */
    /* type dynamic: sequences longer than this have frequencies of their own; 0: none has */
    size_t dynamic_after;
    float theta, factor;
};

struct moe_rope_defaults {
    double theta;         /* when config.json has none */
    size_t head_dim;      /* > 0 */
    size_t max_positions; /* max_position_embeddings; 0: absent */
};

/* The frequencies of a sequence of `length` positions in inv_freq [n_pairs], which are rope->inv_freq but for
 * a dynamic type past dynamic_after. */
void moe_rope_frequencies(float *inv_freq, const struct moe_rope_spec *rope, size_t length);

/* Reads rope_scaling (v4) or rope_parameters (v5) of config.json as transformers' modeling_rope_utils does:
 * default, linear, dynamic (up to max_position_embeddings, where it equals default), llama3, yarn. Others:
 * MOE_E_UNSUPPORTED. Free with moe_rope_spec_free. */
moe_status moe_rope_spec_read(struct moe_rope_spec *out, struct moe_json_value config,
                              const struct moe_rope_defaults *defaults, moe_error *err);
void moe_rope_spec_free(struct moe_rope_spec *rope);

#endif
