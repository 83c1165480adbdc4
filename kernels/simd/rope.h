MOE_INLINE void rotate(vec *a, vec *b, vec c, vec s) {
    const vec x = *a, y = *b;
    *a = v_fma(x, c, v_neg(v_mul(y, s)));
    *b = v_fma(y, c, v_mul(x, s));
}

void MOE_NAME(rope_half)(float *x, const float *c, const float *s, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        vec a = v_load(x + i), b = v_load(x + n + i);
        rotate(&a, &b, v_load(c + i), v_load(s + i));
        v_store(x + i, a);
        v_store(x + n + i, b);
    }
    const size_t left = n - i;
    vec a = v_load_n(x + i, left), b = v_load_n(x + n + i, left);
    rotate(&a, &b, v_load_n(c + i, left), v_load_n(s + i, left));
    v_store_n(x + i, a, left);
    v_store_n(x + n + i, b, left);
}

void MOE_NAME(rope_interleaved)(float *x, const float *c, const float *s, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        vec low = v_load(x + 2 * i), high = v_load(x + 2 * i + VEC), a, b;
        v_unzip(low, high, &a, &b);
        rotate(&a, &b, v_load(c + i), v_load(s + i));
        v_zip(a, b, &low, &high);
        v_store(x + 2 * i, low);
        v_store(x + 2 * i + VEC, high);
    }
    const size_t left = n - i, n_low = 2 * left < VEC ? 2 * left : VEC, n_high = 2 * left - n_low;
    float *rest = x + 2 * i;
    vec low = v_load_n(rest, n_low), high = v_load_n(rest + n_low, n_high), a, b;
    v_unzip(low, high, &a, &b);
    rotate(&a, &b, v_load_n(c + i, left), v_load_n(s + i, left));
    v_zip(a, b, &low, &high);
    v_store_n(rest, low, n_low);
    v_store_n(rest + n_low, high, n_high);
}
