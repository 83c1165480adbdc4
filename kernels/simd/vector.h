/* Element by element: clamp, add, scale, mul, axpy. */

MOE_INLINE vec clamp(vec x, float limit) {
    return v_min(v_set1(limit), v_max(v_set1(-limit), x));
}

void MOE_NAME(clamp)(float *x, size_t n, float limit) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(x + i, clamp(v_load(x + i), limit));
    v_store_n(x + i, clamp(v_load_n(x + i, n - i), limit), n - i);
}

void MOE_NAME(add)(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, v_add(v_load(y + i), v_load(x + i)));
    v_store_n(y + i, v_add(v_load_n(y + i, n - i), v_load_n(x + i, n - i)), n - i);
}

void MOE_NAME(scale)(float *y, const float *x, size_t n, float a) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, v_mul(v_load(x + i), v_set1(a)));
    v_store_n(y + i, v_mul(v_load_n(x + i, n - i), v_set1(a)), n - i);
}

void MOE_NAME(mul)(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, v_mul(v_load(y + i), v_load(x + i)));
    v_store_n(y + i, v_mul(v_load_n(y + i, n - i), v_load_n(x + i, n - i)), n - i);
}

void MOE_NAME(axpy)(float *y, const float *x, size_t n, float a) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) v_store(y + i, v_fma(v_set1(a), v_load(x + i), v_load(y + i)));
    v_store_n(y + i, v_fma(v_set1(a), v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}
