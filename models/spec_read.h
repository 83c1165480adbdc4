#ifndef MOE_MODELS_SPEC_READ_H
#define MOE_MODELS_SPEC_READ_H
/* Typed reads of config.json with the family's defaults, and the parts that a spec is resolved in. */

#include "models/spec.h"

/* Ceilings for numbers of config.json: far above any model, low enough that products of three fit in 64 bits.
 */
enum { MOE_MAX_SIZE = 1 << 20, MOE_MAX_VOCAB = 1 << 24, MOE_MAX_LAYERS = 1 << 12 };

/* The value of a key under any of its names, and of the names of other families for the same; whether it is
 * there, even as null. */
struct moe_json_value moe_spec_get(struct moe_json_value config, moe_key key);
bool moe_spec_has(struct moe_json_value config, moe_key key);

/* An integer in 1..max; k.absent <= 0: it must be there. */
moe_status moe_spec_size(size_t *out, struct moe_json_value config, struct moe_int_key k, int64_t max,
                         moe_error *err);
moe_status moe_spec_size_of(size_t *out, struct moe_json_value v, size_t max, moe_error *err);
/* An integer in 0..max, which may be missing or null: then k.absent. */
moe_status moe_spec_count(size_t *out, struct moe_json_value config, struct moe_int_key k, int64_t max,
                          moe_error *err);
moe_status moe_spec_bool(bool *out, struct moe_json_value config, struct moe_bool_key k, moe_error *err);
/* A boolean, or a number that is not 0 for true; k.absent is true. */
moe_status moe_spec_switch(bool *out, struct moe_json_value config, moe_key key, moe_error *err);
/* null for a key that transformers types as never null: MOE_E_FORMAT. Where it may be, it means absence. */
moe_status moe_spec_no_null(struct moe_json_value config, moe_key key, const char *expected, moe_error *err);
/* A key that changes nothing in this family: still an integer or null where it is there, as transformers
 * demands, for in a file where it is something else the others may be wrong as well. */
moe_status moe_spec_unused(struct moe_json_value config, moe_key key, moe_error *err);
/* A finite number above 0, or k.absent; null only where absence means none (0). */
moe_status moe_spec_real(float *out, struct moe_json_value config, struct moe_real_key k, moe_error *err);
/* The same, and 0 as well. */
moe_status moe_spec_real_or_0(float *out, struct moe_json_value config, struct moe_real_key k,
                              moe_error *err);
/* A factor: moe_spec_real, and 1 if there is no key. */
moe_status moe_spec_factor(float *out, struct moe_json_value config, struct moe_real_key k, moe_error *err);
/* An array of n values; absent or null: *out has no node. */
moe_status moe_spec_list(struct moe_json_value *out, struct moe_json_value config, moe_key key, size_t n,
                         moe_error *err);

moe_status moe_spec_attention(struct moe_spec *s, struct moe_json_value config, moe_error *err);
moe_status moe_spec_ffn(struct moe_spec *s, struct moe_json_value config, moe_error *err);
/* s->layers is there, zeroed. */
moe_status moe_spec_layers(struct moe_spec *s, struct moe_json_value config, moe_error *err);
/* After the layers. */
moe_status moe_spec_ropes(struct moe_spec *s, struct moe_json_value config, moe_error *err);
moe_status moe_spec_steps(struct moe_spec *s, moe_error *err);

#endif
