/* The public view of one safetensors file. */
#include "loader/names.h"
#include "loader/safetensors.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)MOE_TENSOR_RANK == (int)MOE_MAX_RANK, "the public view holds every shape");

struct moe_tensors {
    struct moe_safetensors *file;
    struct moe_names names; /* -> struct moe_tensor */
};

static moe_status index_names(struct moe_tensors *t, moe_error *err) {
    const struct moe_name *twice; /* the header was checked: there is none */
    size_t n = moe_safetensors_count(t->file);
    struct moe_name *names = calloc(n + 1, sizeof *names);
    if (!names) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", moe_safetensors_file(t->file));
    for (size_t i = 0; i < n; i++) {
        const struct moe_tensor *tensor = moe_safetensors_tensor(t->file, i);
        names[i] = (struct moe_name){tensor->name, tensor};
    }
    moe_status status = moe_names_build(&t->names, &twice, names, n, err);
    free(names);
    return status;
}

moe_status moe_tensors_open(moe_tensors **out, const char *file, moe_error *err) {
    *out = NULL;
    moe_tensors *t = calloc(1, sizeof *t);
    if (!t) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", file);
    moe_status status = moe_safetensors_open(&t->file, file, err);
    if (status == MOE_OK) status = index_names(t, err);
    if (status == MOE_OK)
        *out = t;
    else
        moe_tensors_close(t);
    return status;
}

void moe_tensors_close(moe_tensors *tensors) {
    if (!tensors) return;
    moe_names_free(&tensors->names);
    moe_safetensors_close(tensors->file);
    free(tensors);
}

size_t moe_tensors_count(const moe_tensors *tensors) {
    return moe_safetensors_count(tensors->file);
}

static moe_tensor_view view_of(const struct moe_tensor *t) {
    moe_tensor_view view = {.name = t->name,
                            .dtype = moe_dtype_name(t->dtype),
                            .rank = t->rank,
                            .n_bytes = t->n_bytes,
                            .data = t->data};
    memcpy(view.shape, t->shape, sizeof view.shape);
    return view;
}

moe_tensor_view moe_tensors_get(const moe_tensors *tensors, size_t i) {
    return view_of(moe_safetensors_tensor(tensors->file, i));
}

bool moe_tensors_find(moe_tensor_view *out, const moe_tensors *tensors, const char *name) {
    const struct moe_tensor *t = moe_names_find(&tensors->names, name);
    if (t) *out = view_of(t);
    return t != NULL;
}
