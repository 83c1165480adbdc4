#ifndef MOE_MODELS_WEIGHTS_H
#define MOE_MODELS_WEIGHTS_H
/* Every tensor that a spec calls for, found, shape-checked and bound. Matrices are borrowed views of the
 * source; the small vectors (gains, biases) are widened to fp32 and owned. Shapes below are [rows, cols] of a
 * matrix, y = x W^T. */

#include "models/source.h"
#include "models/spec.h"

/* A projection with its optional bias. */
struct moe_linear {
    struct moe_matrix w;
    const float *bias; /* [w.rows] or NULL */
};

/* A gated FFN: down(silu(gate(x)) * up(x)). One expert, a shared expert, or a dense layer. */
struct moe_ffn {
    struct moe_matrix gate, up; /* [width, hidden] */
    struct moe_matrix down;     /* [hidden, width] */
};

struct moe_layer_weights {
    const float *attention_norm, *ffn_norm; /* [hidden] */
    struct moe_linear q, k, v, o;           /* [heads * head_dim, hidden], o transposed */
    const float *q_norm, *k_norm;           /* [head_dim] or [heads * head_dim], NULL: none */
    /* a dense layer has only `dense`; a MoE layer the rest */
    struct moe_ffn dense;
    struct moe_matrix router;       /* [n_experts, hidden] */
    struct moe_ffn *experts;        /* [n_experts] */
    struct moe_ffn shared;          /* shared_width 0: none */
    struct moe_matrix shared_score; /* [1, hidden] */
};

struct moe_weights {
    struct moe_matrix embed, head; /* [vocab, hidden]; the same matrix when tied */
    const float *final_norm;       /* [hidden] */
    size_t n_layers;
    struct moe_layer_weights *layers; /* [n_layers], owned */
    bool layouts[MOE_LAYOUT_COUNT];   /* layouts of activations that some matrix wants */
    uint64_t n_parameters, n_bytes;   /* of what was bound, a tied head once */
    void *owned;                      /* the widened vectors */
};

/* Progress of binding: tensors done and in all; may be NULL. */
struct moe_weights_progress {
    void (*call)(void *context, size_t done, size_t total);
    void *context;
};

/* MOE_E_FORMAT names the tensor and what was expected. Unknown extra tensors are no error. */
moe_status moe_weights_bind(struct moe_weights *out, const struct moe_spec *spec,
                            const struct moe_source *source, const struct moe_weights_progress *progress,
                            moe_error *err);
void moe_weights_free(struct moe_weights *weights);

#endif
