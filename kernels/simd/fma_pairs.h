/* Products in pairs where no instruction makes them: of words of two bfloat16, the odd elements first. */
static inline vec v_fma_pairs(vec a, vec b, vec c) {
    const words odd = w_set1(0xffff0000), u = w_of_floats(a), v = w_of_floats(b);
    c = v_fma(v_of_bits(w_and(u, odd)), v_of_bits(w_and(v, odd)), c);
    return v_fma(v_of_bits(w_left(u, 16)), v_of_bits(w_left(v, 16)), c);
}
