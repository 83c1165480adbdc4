#include "base/convert.h"

void moe_convert_to_f32(float *out, enum moe_format format, const void *data, size_t n) {
    const unsigned char *p = data;
    size_t size = moe_format_bits(format) / 8;
    for (size_t i = 0; i < n; i++, p += size) {
        uint16_t h;
        switch (format) {
        case MOE_FORMAT_BF16:
            memcpy(&h, p, sizeof h);
            out[i] = moe_float_of_bf16(h);
            break;
        case MOE_FORMAT_F16:
            memcpy(&h, p, sizeof h);
            out[i] = moe_float_of_f16(h);
            break;
        default: /* F32: a vector is never quantised */
            memcpy(&out[i], p, sizeof out[i]);
            break;
        }
    }
}
