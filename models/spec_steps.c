/* The order of a pass: what each layer of a block's shape does, one step after the other. */
#include <stdlib.h>

#include "models/spec_read.h"

enum { MAX_STEPS = 3 }; /* of one layer */

static void add(struct moe_spec *s, struct moe_step step) {
    s->steps[s->n_steps++] = step;
}

/* The usual two: attention, then the FFN. */
static void add_pair(struct moe_spec *s, size_t layer, bool norm_in, bool norm_out, bool parallel) {
    enum moe_op ffn = s->layers[layer].routed ? MOE_OP_EXPERTS : MOE_OP_DENSE;
    add(s, (struct moe_step){.layer = layer,
                             .op = MOE_OP_ATTENTION,
                             .norm_in = norm_in,
                             .norm_out = norm_out,
                             .is_kept = parallel});
    add(s, (struct moe_step){.layer = layer,
                             .op = ffn,
                             .norm_in = norm_in,
                             .norm_out = norm_out,
                             .reads_same = parallel,
                             .adds_kept = parallel,
                             .is_tapped = true,
                             .ends_layer = true});
}

/* One half of a layer with a shortcut: the first half's experts add to what the second half's FFN gives. */
static void add_shortcut(struct moe_spec *s, size_t layer) {
    bool first = s->layers[layer].routed;
    add(s, (struct moe_step){.layer = layer, .op = MOE_OP_ATTENTION, .norm_in = true});
    if (first)
        add(s,
            (struct moe_step){
                .layer = layer, .op = MOE_OP_EXPERTS, .norm_in = true, .is_kept = true, .is_tapped = true});
    add(s, (struct moe_step){.layer = layer,
                             .op = MOE_OP_DENSE,
                             .norm_in = true,
                             .reads_same = first,
                             .adds_kept = !first,
                             .ends_layer = !first});
}

moe_status moe_spec_steps(struct moe_spec *s, moe_error *err) {
    s->steps = calloc(MAX_STEPS * s->n_layers, sizeof *s->steps);
    if (!s->steps) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    for (size_t l = 0; l < s->n_layers; l++) {
        switch (s->family->block) {
        case MOE_BLOCK_PRE:
            add_pair(s, l, true, false, false);
            break;
        case MOE_BLOCK_POST:
            add_pair(s, l, false, true, false);
            break;
        case MOE_BLOCK_SANDWICH:
            add_pair(s, l, true, true, false);
            break;
        case MOE_BLOCK_PARALLEL:
            add_pair(s, l, true, false, true);
            break;
        case MOE_BLOCK_SHORTCUT:
            add_shortcut(s, l);
            break;
        }
    }
    return MOE_OK;
}
