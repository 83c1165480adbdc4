#ifndef MOE_CLI_REFERENCE_H
#define MOE_CLI_REFERENCE_H
/* A reference dump (scripts/dump_reference.py): ids, and what another implementation computed for each
 * position. */

#include "cli/common.h"

enum quantity { Q_HIDDEN, Q_ROUTER, Q_FFN_IN, Q_FFN_OUT, Q_EXPERTS, Q_LOGITS, Q_COUNT };

extern const char *const quantity_names[Q_COUNT]; /* "hidden", ... as in the dump */

/* One tensor of the dump, [n_rows, n]; F32, for Q_EXPERTS I64. data NULL: the dump has none. */
struct reference_tensor {
    const unsigned char *data; /* borrowed, of any alignment */
    size_t n_rows, n;
    double deviation; /* standard deviation of its finite values; 0 for Q_EXPERTS */
};

struct reference {
    moe_tensors *file;
    uint32_t *ids; /* [n_prompt + n_generated] */
    size_t n_prompt, n_generated;
    size_t n_layers;
    struct reference_tensor logits;
    struct reference_tensor *layers[Q_LOGITS]; /* [n_layers] each */
};

/* Reads and checks `file` against the model that it will be compared with, or ends the program. */
void reference_open(struct reference *r, const char *file, const moe_model *model);
void reference_close(struct reference *r);

/* The tensor of a quantity; `layer` counts for all but Q_LOGITS. */
const struct reference_tensor *reference_get(const struct reference *r, enum quantity q, size_t layer);
float reference_value(const struct reference_tensor *t, size_t row, size_t i);
int64_t reference_id(const struct reference_tensor *t, size_t row, size_t i);

#endif
