#ifndef MOE_MODELS_WEIGHTS_H
#define MOE_MODELS_WEIGHTS_H
/* Every tensor that a spec calls for, found, shape-checked and bound. Matrices are borrowed views of the
 * source, but for the few that lie transposed in it; vectors (gains, biases) are widened to fp32. Both of
 * these are owned. Shapes below are [rows, cols] of a matrix, y = x W^T. */

#include "models/source.h"
#include "models/spec.h"

/* A projection with its optional bias. */
struct moe_linear {
    struct moe_matrix w;
    const float *bias; /* [w.rows] or NULL */
};

/* Gain and, in LayerNorm, bias; both as wide as what is normed. */
struct moe_norm {
    const float *gain, *bias;
};

/* A gated FFN: down(act(gate(x), up(x))). One expert, a shared expert, or a dense layer. */
struct moe_ffn {
    struct moe_linear gate, up; /* [width, hidden] */
    struct moe_linear down;     /* [hidden, width] */
};

/* Latent attention. The matrix that expands the latent vector into a head's keys is kept transposed: it is
 * applied to queries instead. */
struct moe_latent_weights {
    struct moe_linear q_a;     /* [q_rank, hidden], if q_rank */
    const float *q_norm;       /* [q_rank] */
    struct moe_linear kv_a;    /* [kv_rank + rope_dim, hidden] */
    const float *kv_norm;      /* [kv_rank] */
    struct moe_matrix *absorb; /* [n_heads] of [kv_rank, nope_dim] */
    struct moe_matrix *expand; /* [n_heads] of [value_dim, kv_rank] */
};

/* Norms that a layer's block does not have are zero; so is the FFN, dense or routed, that it lacks. */
struct moe_layer_weights {
    struct moe_norm attention_norm, attention_out_norm, ffn_norm, ffn_out_norm;
    struct moe_linear q;          /* [n_heads * head_dim, hidden or q_rank] */
    struct moe_linear k, v;       /* [n_kv_heads * (head_dim, value_dim), hidden]; grouped attention only */
    struct moe_linear o;          /* [hidden, n_heads * value_dim] */
    struct moe_matrix gate;       /* [n_heads * gate_dim, hidden], if gate_dim */
    const float *q_norm, *k_norm; /* [head_dim] or [heads * head_dim], NULL: none */
    const float *sinks;           /* [n_heads] or NULL */
    struct moe_latent_weights latent;
    struct moe_ffn dense;
    struct moe_linear router;       /* [n_choices, hidden] */
    const float *correction;        /* [n_choices] or NULL */
    struct moe_norm experts_norm;   /* of the sum of the experts; zero: none */
    struct moe_ffn *experts;        /* [n_experts] */
    struct moe_ffn shared;          /* shared_width 0: none */
    struct moe_matrix shared_score; /* [1, hidden], with a sigmoid */
};

struct moe_weights {
    struct moe_matrix embed; /* [vocab, hidden] */
    struct moe_linear head;  /* [vocab, hidden]; the same matrix when tied */
    struct moe_norm final_norm;
    size_t n_layers;
    struct moe_layer_weights *layers; /* [n_layers], owned */
    bool layouts[MOE_LAYOUT_COUNT];   /* layouts of activations that some matrix wants */
    uint64_t n_parameters, n_bytes;   /* of what was bound, a tied head once */
    uint64_t n_owned;                 /* bytes taken: vectors, transposed matrices, lists of matrices */
    uint64_t n_replaced;              /* of n_bytes, what is not read again because a copy is, scales apart */
    void *owned;
};

/* Progress of binding: tensors done and in all; may be NULL. */
struct moe_weights_progress {
    moe_progress_fn *call;
    void *context;
};

/* MOE_E_FORMAT names the tensor and what was expected. Unknown extra tensors are no error. */
moe_status moe_weights_bind(struct moe_weights *out, const struct moe_spec *spec,
                            const struct moe_source *source, const struct moe_weights_progress *progress,
                            moe_error *err);
void moe_weights_free(struct moe_weights *weights);

/* Whether the head is the embedding. */
bool moe_weights_share_head(const struct moe_weights *weights);

/* Calls `call` for every matrix that a pass reads whole, in the order of a pass but for the head, which
 * comes first. An embedding that is not tied is none of them: only rows of it are read. Where it is tied, it
 * is the head. */
void moe_weights_visit(struct moe_weights *weights, const struct moe_spec *spec,
                       void (*call)(void *context, struct moe_matrix *w), void *context);

/* From now on products of matrices in BF16, packed or not, take activations in bf16: of all that
 * moe_weights_visit shows but routers and the gate of shared experts, which decide what is computed at all.
 * False: there is none. */
bool moe_weights_round_activations(struct moe_weights *weights, const struct moe_spec *spec);

/* A tensor that binding asks for as a matrix [rows, cols], or as a stack of n_stacked > 0 of them, under the
 * name that the source has it by; or as a vector: one row. */
struct moe_listed_tensor {
    const char *name; /* borrowed for the call */
    size_t n_stacked, rows, cols;
    const struct moe_matrix *matrices; /* [n_stacked], or one: views of the source, borrowed for the call */
};

struct moe_weights_list {
    moe_status (*matrix)(void *context, const struct moe_listed_tensor *t, moe_error *err);
    moe_status (*vector)(void *context, const struct moe_listed_tensor *t, moe_error *err); /* NULL: none */
    /* Takes note of a tensor that is missing or not what it must be, as *err says; MOE_OK goes on with the
     * next. NULL: the first one is an error. */
    moe_status (*fault)(void *context, moe_error *err);
    void *context;
};

/* Checks all that moe_weights_bind checks and hands over every tensor instead of binding it: nothing is
 * copied, and nothing of a tensor read but what a packed one keeps apart. *out tells what binding would take,
 * and has its matrices, of which those that would be transposed have the right size and the wrong data, but
 * no vectors; after a fault it is good for nothing. To be freed in any case. */
moe_status moe_weights_list(struct moe_weights *out, const struct moe_weights_list *list,
                            const struct moe_spec *spec, const struct moe_source *source, moe_error *err);

#endif
