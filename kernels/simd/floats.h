/* Blocks of floats in packed order: those of F32, and what formats have in a panel alone. */
MOE_INLINE vec load_half(const unsigned char *block, size_t u, const int half) {
    return v_load(block + ((half ? MOE_LANES / 2 : 0) + u * VEC) * sizeof(float));
}
