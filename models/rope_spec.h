#ifndef MOE_MODELS_ROPE_SPEC_H
#define MOE_MODELS_ROPE_SPEC_H
/* Rotary position embedding, resolved: the frequencies, whatever rope_type they come from. */

#include "loader/json.h"
#include "models/family.h"

struct moe_rope_spec {
    size_t n_pairs;  /* rotated pairs per head */
    float *inv_freq; /* [n_pairs], owned */
    float attention; /* factor on cosine and sine */
    /* of sequences longer than long_after; 0: there is no such difference */
    size_t long_after;
    float *long_inv_freq; /* [n_pairs], owned; NULL: inv_freq */
    float long_attention;
    bool recomputes; /* a sequence that crosses long_after is computed anew from its beginning */
    float theta;
    /* type dynamic: sequences longer than this have frequencies of their own; 0: none has */
    size_t dynamic_after;
    float factor;
    float growth_factor, growth_length; /* of queries: struct moe_growth_spec */
    double score_scale; /* factor on the scores of latent attention (yarn's mscale_all_dim, squared) */
};

/* What is read, and what stands for what config.json does not say. */
struct moe_rope_defaults {
    const struct moe_rope_family *family;
    struct moe_rope_default absent;
    const char *member;   /* the settings are this member of rope_parameters; NULL: they are all of it */
    double forced_theta;  /* in place of rope_theta; 0: none */
    bool reads_growth;    /* settings have llama_4_scaling_beta */
    size_t head_dim;      /* > 0 */
    size_t max_positions; /* max_position_embeddings; 0: absent */
};

/* The frequencies of a sequence of `length` positions in inv_freq [n_pairs]; returns its factor on cosine and
 * sine. */
float moe_rope_frequencies(float *inv_freq, const struct moe_rope_spec *rope, size_t length);

/* Reads rope_scaling (v4) or rope_parameters (v5) of config.json as transformers' modeling_rope_utils does:
 * default, linear, dynamic, llama3, yarn, longrope, on the whole head or a part of it. Others:
 * MOE_E_UNSUPPORTED. Free with moe_rope_spec_free. */
moe_status moe_rope_spec_read(struct moe_rope_spec *out, struct moe_json_value config,
                              const struct moe_rope_defaults *defaults, moe_error *err);
void moe_rope_spec_free(struct moe_rope_spec *rope);

#endif
