#include "loader/safetensors.h"

#include <string.h>

static const struct {
    const char *name;
    size_t bits;
} dtypes[MOE_DTYPE_COUNT] = {
#define MOE_DTYPE(id, bits) [MOE_DTYPE_##id] = {#id, bits},
#include "loader/dtype.def"
#undef MOE_DTYPE
};

const char *moe_dtype_name(enum moe_dtype d) {
    return dtypes[d].name;
}

size_t moe_dtype_bits(enum moe_dtype d) {
    return dtypes[d].bits;
}

bool moe_dtype_find(enum moe_dtype *out, const char *name) {
    for (size_t i = 0; i < MOE_DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) != 0) continue;
        *out = (enum moe_dtype)i;
        return true;
    }
    return false;
}
