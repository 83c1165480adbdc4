#include "base/matrix.h"

static const struct {
    const char *name;
    size_t bits;
    enum moe_layout layout;
} formats[MOE_FORMAT_COUNT] = {
#define MOE_FORMAT(id, dtype, bits, layout) [MOE_FORMAT_##id] = {dtype, bits, MOE_LAYOUT_##layout},
#include "base/format.def"
#undef MOE_FORMAT
};

const char *moe_format_name(enum moe_format f) {
    return formats[f].name;
}

enum moe_layout moe_format_layout(enum moe_format f) {
    return formats[f].layout;
}

size_t moe_format_bits(enum moe_format f) {
    return formats[f].bits;
}
