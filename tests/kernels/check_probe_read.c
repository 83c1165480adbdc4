#include "tests/kernels/check.h"

void check_probe_read(const struct check *c) {
    for (size_t n = 0; n < 1300; n += n < 300 ? 1 : 41) {
        unsigned char *p = check_bytes(n, 1);
        for (size_t i = 0; i < n; i++) p[i] = (unsigned char)check_random();
        uint32_t sum = 0;
        for (size_t i = 0; i < n; i++) sum ^= (uint32_t)p[i] << 8 * (i % 4);
        const float want = (float)(sum >> 8), got = c->k.probe_read(p, n);
        check_same_bits(&want, &got, 1, "probe_read: %zu bytes", n);
        check_reset();
    }
}
