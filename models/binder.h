#ifndef MOE_MODELS_BINDER_H
#define MOE_MODELS_BINDER_H
/* What binding one tensor after the other needs: which layer and expert, and where errors go. */

#include "models/storage.h"
#include "models/weights.h"

enum { MOE_MAX_TENSOR_NAME = 256 };

struct moe_binder {
    struct moe_weights *out;
    const struct moe_spec *spec;
    struct moe_storage storage;
    const struct moe_weights_progress *progress;
    const struct moe_weights_list *list; /* not NULL: tensors are handed over to it, and none is copied */
    struct moe_matrix *scratch;          /* [n_choices of the router] */
    size_t layer, expert, done, total;   /* layer: of the spec */
    size_t unasked;                      /* bytes owned since the system was last asked whether it has them */
    moe_error *err;
};

/* The name of a role that the source has, of several the first, with {L}, {S} and {E} filled in; with
 * `suffix`, a trailing ".weight" is replaced by it. */
void moe_binder_name(char out[MOE_MAX_TENSOR_NAME], const struct moe_binder *b, enum moe_tensor_role role,
                     const char *suffix);
/* Whether the source has the tensor of a role, in whatever form it is stored. */
bool moe_binder_has(const struct moe_binder *b, enum moe_tensor_role role);

/* What becomes of a failure with a tensor, whose message is there: MOE_OK if a list takes note of it. */
moe_status moe_binder_fault(struct moe_binder *b, moe_status status);

/* `n` bytes that live as long as the weights. MOE_E_MEMORY if this machine does not have them. */
moe_status moe_binder_own(struct moe_binder *b, void **out, size_t n);

moe_status moe_bind_matrix(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role,
                           size_t rows, size_t cols);
/* One tensor of n matrices [rows, cols] in out [n]. */
moe_status moe_bind_stack(struct moe_binder *b, struct moe_matrix *out, enum moe_tensor_role role, size_t n,
                          size_t rows, size_t cols);
/* A vector [n], named by the role with `suffix` for .weight (NULL: as it is). */
moe_status moe_bind_vector(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                           const char *suffix, size_t n);
/* The same for a tensor of another shape; *out has the product of its sizes. */
moe_status moe_bind_array(struct moe_binder *b, const float **out, enum moe_tensor_role role,
                          const char *suffix, const size_t *shape, size_t rank);
moe_status moe_bind_linear(struct moe_binder *b, struct moe_linear *out, enum moe_tensor_role role,
                           size_t rows, size_t cols, bool bias);
/* *out = w transposed, owned: in the same format, in BF16 if that is packed, in F32 if it is quantised. */
moe_status moe_bind_transposed(struct moe_binder *b, struct moe_matrix *out, const struct moe_matrix *w);

/* models/weights_attention.c, models/weights_ffn.c: all of a layer but its norms. */
moe_status moe_bind_attention(struct moe_binder *b, struct moe_layer_weights *w);
moe_status moe_bind_experts(struct moe_binder *b, struct moe_layer_weights *w);
moe_status moe_bind_dense(struct moe_binder *b, struct moe_layer_weights *w);

#endif
