void MOE_NAME(rope_half)(float *x, const float *c, const float *s, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        const vec a = v_load(x + i), b = v_load(x + n + i), co = v_load(c + i), si = v_load(s + i);
        v_store(x + i, v_fma(a, co, v_neg(v_mul(b, si))));
        v_store(x + n + i, v_fma(b, co, v_mul(a, si)));
    }
    const size_t left = n - i;
    const vec a = v_load_n(x + i, left), b = v_load_n(x + n + i, left);
    const vec co = v_load_n(c + i, left), si = v_load_n(s + i, left);
    v_store_n(x + i, v_fma(a, co, v_neg(v_mul(b, si))), left);
    v_store_n(x + n + i, v_fma(b, co, v_mul(a, si)), left);
}
