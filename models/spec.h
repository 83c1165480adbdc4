#ifndef MOE_MODELS_SPEC_H
#define MOE_MODELS_SPEC_H
/* A family and a config.json resolved into plain numbers: all that the weights and the pass need to know. */

#include "loader/json.h"
#include "models/family.h"
#include "models/quantization.h"
#include "models/rope_spec.h"

struct moe_layer_spec {
    bool dense;    /* a dense FFN of width dense_width instead of experts */
    size_t window; /* positions seen, itself included; 0: all before */
};

struct moe_spec {
    const struct moe_family *family;
    size_t hidden_size, n_layers, vocab_size, max_positions; /* max_positions 0: not stated */
    size_t n_heads, n_kv_heads, head_dim;
    size_t n_experts, top_k, expert_width, dense_width, shared_width; /* widths 0 where the family has none */
    float norm_eps, clip_qkv;                                         /* clip_qkv 0: none */
    bool bias_qkv, bias_o, renorm, tied;
    struct moe_rope_spec rope;
    struct moe_quantization quantization;
    struct moe_layer_spec *layers; /* [n_layers], owned */
};

/* Every number is checked: present or with the family's default, of its type, in range, consistent with the
 * others. MOE_E_UNSUPPORTED for a model_type or a value that the engine does not reproduce, with its reason.
 */
moe_status moe_spec_resolve(struct moe_spec *out, struct moe_json_value config, moe_error *err);
void moe_spec_free(struct moe_spec *spec);

#endif
