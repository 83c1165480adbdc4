float MOE_NAME(probe_pairs)(size_t n) {
    volatile uint32_t quarters = 0xbe803e80; /* 0.25 and -0.25; unknown to the compiler */
    const vec a = v_of_bits(w_set1(quarters)), ones = v_of_bits(w_set1(0x3f803f80));
    vec x[PROBE_CHAINS];
    for (size_t c = 0; c < PROBE_CHAINS; c++) x[c] = v_set1(1);
    for (size_t i = 0; i < n * (MOE_PROBE_FLOPS / 4 / VEC / PROBE_CHAINS); i++) {
        MOE_UNROLL
        for (size_t c = 0; c < PROBE_CHAINS; c++) x[c] = v_fma_pairs(a, ones, x[c]);
    }
    float sum = 0;
    for (size_t c = 0; c < PROBE_CHAINS; c++) sum += v_tree(x[c]);
    return sum / (PROBE_CHAINS * VEC);
}
