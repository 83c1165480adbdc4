#include "tests/kernels/check.h"

static void check_read(moe_probe_read_fn *read, const char *name) {
    for (size_t n = 0; n < 1300; n += n < 300 ? 1 : 41) {
        unsigned char *p = check_bytes(n, 1);
        for (size_t i = 0; i < n; i++) p[i] = (unsigned char)check_random();
        uint32_t sum = 0;
        for (size_t i = 0; i < n; i++) sum ^= (uint32_t)p[i] << 8 * (i % 4);
        const float want = (float)(sum >> 8), got = read(p, n);
        check_same_bits(&want, &got, 1, "%s: %zu bytes", name, n);
        check_reset();
    }
}

void check_probe_read(const struct check *c) {
    check_read(c->k.probe_read, "probe_read");
}

void check_probe_read_ahead(const struct check *c) {
    check_read(c->k.probe_read_ahead, "probe_read_ahead");
}

void check_probe_read_streams(const struct check *c) {
    check_read(c->k.probe_read_streams, "probe_read_streams");
}
