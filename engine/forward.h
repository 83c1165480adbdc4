#ifndef MOE_ENGINE_FORWARD_H
#define MOE_ENGINE_FORWARD_H
/* The forward pass over the session's batch: one pass for every family, on every worker. */

#include "engine/threads.h"

/* A moe_work_fn; context is the struct moe_session, whose batch is set. Fills the logits of the rows that
 * want them. */
void moe_forward(struct moe_worker *worker, void *context);

#endif
