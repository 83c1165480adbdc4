#ifndef MOE_ENGINE_CHECK_H
#define MOE_ENGINE_CHECK_H
/* A check on its way: a model without weights of its own, and a view of every tensor that it would use. */

#include <stdatomic.h>

#include "engine/model.h"

enum { MOE_CHECK_MAX_IDS = 64 };

/* A tensor that the model asks for. */
struct moe_check_item {
    char *name;      /* owned */
    size_t first, n; /* of matrices */
    atomic_ulong n_nan, n_infinite;
};

struct moe_check {
    moe_check_options options;   /* defaults filled in */
    struct moe_model *model;     /* weights: as moe_weights_list leaves them */
    size_t repack_bytes;         /* on huge pages, if they are asked for */
    struct moe_matrix *matrices; /* [n_matrices] views of the checkpoint */
    size_t n_matrices, matrix_room;
    struct moe_check_item *items; /* [n_items] in the order of the model */
    size_t n_items, item_room;
    char **faults; /* [report.n_faults_listed] owned */
    moe_check_id ids[MOE_CHECK_MAX_IDS];
    moe_check_tensor *tensors; /* [report.n_tensors_listed] names borrowed from items */
    moe_check_report report;
};

/* Special ids of the small files of `dir` into check->ids and the report. */
moe_status moe_check_read_ids(struct moe_check *check, const char *dir, moe_error *err);

#endif
