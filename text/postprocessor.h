#ifndef MOE_TEXT_POSTPROCESSOR_H
#define MOE_TEXT_POSTPROCESSOR_H
/* The "post_processor" of tokenizer.json: what is put around the ids of a text. */

#include "loader/json.h"
#include "text/buffer.h"

struct moe_postprocessor {
    struct moe_post_piece *pieces; /* [n] of the template */
    size_t n, capacity;
    bool has_template; /* without one, ids stay as they are */
};

/* `v`: the component, or absent for none. */
moe_status moe_postprocessor_open(struct moe_postprocessor *out, struct moe_json_value v, moe_error *err);
void moe_postprocessor_close(struct moe_postprocessor *post);

/* How many ids it adds to a text if `special`. */
size_t moe_postprocessor_added(const struct moe_postprocessor *post);
/* The largest id that it adds, or -1. */
int64_t moe_postprocessor_largest_id(const struct moe_postprocessor *post);
/* Puts what becomes of `ids` into *out; may change places with it. */
moe_status moe_postprocessor_apply(struct moe_ids *ids, const struct moe_postprocessor *post, bool special,
                                   moe_error *err);

#endif
