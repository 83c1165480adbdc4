#include "tests/kernels/check.h"

#include <criterion/parameterized.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/packed.h"

#define CANARY 0xa5

struct buffer {
    unsigned char *map, *begin, *end; /* the two guard pages lie at both ends of map */
    size_t map_bytes, page;
};
static struct buffer buffers[64];
static size_t n_buffers;
static uint64_t seed, state;

const size_t check_sizes[] = {
    1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  11,  12,  13,  14,  15,  16,  17,   18,   19,   20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30,  31,  32,  33,  34,  35,  36,  37,  38,   39,   40,   41, 42,
    43, 44, 45, 46, 47, 48, 49, 50, 51,  52,  53,  54,  55,  56,  57,  58,  59,   60,   61,   62, 63,
    64, 65, 66, 67, 80, 95, 96, 97, 127, 128, 129, 160, 255, 256, 257, 768, 1000, 2048, 2880, 0};

static void seed_random(void) {
    const char *given = getenv("MOE_TEST_SEED");
    state = seed = given ? strtoull(given, NULL, 0) : 1;
}

uint32_t check_random(void) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)(z >> 32);
}

size_t check_below(size_t n) {
    return check_random() % n;
}

void *check_bytes(size_t bytes, size_t align) {
    if (n_buffers == sizeof buffers / sizeof *buffers) cr_assert_fail("too many buffers");
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + align + page - 1) / page * page;
    struct buffer *b = &buffers[n_buffers++];
    b->page = page;
    b->map_bytes = inner + 2 * page;
    b->map = mmap(NULL, b->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED) cr_assert_fail("no memory for %zu bytes", bytes);
    memset(b->map + page, CANARY, inner);
    if (mprotect(b->map, page, PROT_NONE) || mprotect(b->map + page + inner, page, PROT_NONE))
        cr_assert_fail("no guard pages");
    b->begin =
        check_random() % 2 ? b->map + page : b->map + page + inner - (bytes + align - 1) / align * align;
    b->end = b->begin + bytes;
    return b->begin;
}

float *check_floats(size_t n) {
    return check_bytes(n * sizeof(float), sizeof(float));
}

float *check_aligned_floats(size_t n) {
    return check_bytes(n * sizeof(float), 64);
}

void check_guards(void) {
    for (size_t i = 0; i < n_buffers; i++) {
        const struct buffer *b = &buffers[i];
        for (const unsigned char *p = b->map + b->page; p < b->map + b->map_bytes - b->page; p++)
            if (p < b->begin || p >= b->end)
                if (*p != CANARY)
                    cr_assert_fail("buffer %zu: byte %td of %td was written; seed %llu", i, p - b->begin,
                                   b->end - b->begin, (unsigned long long)seed);
    }
}

void check_reset(void) {
    check_guards();
    for (size_t i = 0; i < n_buffers; i++) munmap(buffers[i].map, buffers[i].map_bytes);
    n_buffers = 0;
}

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float random_unit(void) {
    return (float)((double)check_random() * 0x1p-31 - 1 + 0x1p-32);
}

void check_fill(float *x, size_t n, enum check_fill kind) {
    static const float special[] = {0.0f,     -0.0f,    0x1p-149f, -0x1.8p-130f, FLT_MIN, FLT_MAX,
                                    -FLT_MAX, INFINITY, -INFINITY, NAN,          -NAN,    88.8f,
                                    -88.8f,   104.0f,   -104.0f,   1.0f,         -1.0f,   0x1p127f};
    for (size_t i = 0; i < n; i++) {
        x[i] = random_unit();
        if (kind == CHECK_WIDE)
            x[i] = from_bits((check_random() & 0x80ffffff) | (uint32_t)check_below(254) << 23);
        if (kind == CHECK_SPECIAL && check_below(4) == 0)
            x[i] = special[check_below(sizeof special / sizeof *special)];
    }
}

/* The nearest half, without a care for ties: what matters is that every bit pattern comes up. */
static uint16_t to_half(float x) {
    const uint32_t sign = to_bits(x) >> 16 & 0x8000;
    const float a = fabsf(x);
    if (isnan(x)) return (uint16_t)(sign | 0x7e00 | (check_random() & 0x1ff));
    if (a >= 65520) return (uint16_t)(sign | 0x7c00);
    if (a < 0x1p-14f) return (uint16_t)(sign | (uint32_t)lrintf(a * 0x1p24f));
    return (uint16_t)(sign | ((to_bits(a) + 0xfff - ((127 - 15) << 23)) >> 13));
}

/* Plain numbers of a format, from check_fill, rounded. */
static void fill_numbers(unsigned char *data, size_t n, enum check_fill kind, enum moe_format f) {
    for (size_t i = 0; i < n; i++) {
        float x;
        check_fill(&x, 1, kind);
        const uint16_t upper = (uint16_t)(to_bits(x) >> 16), half = to_half(x);
        if (f == MOE_FORMAT_F32)
            memcpy(data + 4 * i, &x, 4);
        else
            memcpy(data + 2 * i, f == MOE_FORMAT_F16 ? &half : &upper, 2);
    }
}

static void fill_codes(unsigned char *data, size_t bytes, enum check_fill kind, enum moe_format f) {
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (unsigned char)check_random();
        const bool nan = (data[i] & 0x7f) == 0x7f, rare = kind != CHECK_UNIT && check_below(8) == 0;
        if (f == MOE_FORMAT_FP8 && nan && !rare) data[i] ^= 1;
    }
}

static void fill_scales(unsigned char *data, size_t n, enum check_fill kind, const struct moe_matrix *w) {
    if (w->format != MOE_FORMAT_MXFP4) {
        fill_numbers(data, n, kind, w->scales.number);
        return;
    }
    static const unsigned char special[] = {0, 1, 2, 127, 252, 253, 254, 255};
    for (size_t i = 0; i < n; i++) {
        data[i] = (unsigned char)(119 + check_below(10));
        if (kind == CHECK_WIDE) data[i] = (unsigned char)check_random();
        if (kind == CHECK_SPECIAL && check_below(2)) data[i] = special[check_below(sizeof special)];
    }
}

/* Scales that just suffice, at an odd address, with gaps of random bytes between their rows. */
static const void *random_scales(const struct moe_matrix *w, size_t rows, size_t groups, size_t size,
                                 enum check_fill kind) {
    const size_t row_bytes = w->scales.row_bytes;
    unsigned char *data = check_bytes((rows - 1) * row_bytes + groups * size, 1);
    for (size_t i = 0; i < (rows - 1) * row_bytes; i++) data[i] = (unsigned char)check_random();
    for (size_t r = 0; r < rows; r++) fill_scales(data + r * row_bytes, groups, kind, w);
    return data;
}

static void add_scales(struct moe_matrix *w, enum check_fill kind) {
    static const enum moe_format numbers[] = {MOE_FORMAT_F32, MOE_FORMAT_BF16, MOE_FORMAT_F16};
    struct moe_scales *s = &w->scales;
    const bool blocks = w->format == MOE_FORMAT_FP8, bytes = w->format == MOE_FORMAT_MXFP4;
    s->number = numbers[check_below(3)];
    s->columns = blocks ? 128 : bytes ? 32 : 32U << check_below(3);
    s->rows = blocks ? 128 : 1;
    s->first_row = !blocks ? 0 : check_below(2) ? check_below(128) : 127 - check_below(4);
    const size_t groups = (w->cols + s->columns - 1) / s->columns,
                 size = bytes ? 1 : moe_format_bits(s->number) / 8;
    const size_t rows = (s->first_row + w->rows + s->rows - 1) / s->rows;
    s->row_bytes = groups * size + check_below(2) * check_below(9);
    s->scale = random_scales(w, rows, groups, size, kind);
    if (!blocks && !bytes) s->bias = random_scales(w, rows, groups, size, kind);
}

size_t check_cols(enum moe_format f, size_t n) {
    return moe_format_is_quantised(f) && f != MOE_FORMAT_FP8 ? moe_padded(n) : n;
}

/* Gives the blocks of w (BF16) high bytes of a random table, all but one of `every`. */
static void use_table(struct moe_matrix *w, unsigned char table[MOE_PACKED_TABLE], size_t every,
                      enum check_fill kind) {
    unsigned char *data = (unsigned char *)(uintptr_t)w->data;
    for (size_t i = 0; i < MOE_PACKED_TABLE; i++)
        table[i] = (unsigned char)(kind == CHECK_UNIT ? (check_random() & 0x8f) + 0x30 : check_random());
    if (check_below(2)) table[check_below(MOE_PACKED_TABLE)] = 0; /* or padding is an escape */
    for (size_t r = 0; r < w->rows; r++)
        for (size_t b = 0; b < w->cols; b += MOE_PACKED_WEIGHTS) {
            if (every && check_below(every) == 0) continue;
            for (size_t i = b; i < w->cols && i < b + MOE_PACKED_WEIGHTS; i++)
                data[r * w->row_bytes + 2 * i + 1] = table[check_below(MOE_PACKED_TABLE)];
        }
}

struct check_packed check_packed(size_t rows, size_t cols, size_t gap, enum check_fill kind) {
    struct check_packed p = {.source = check_matrix(MOE_FORMAT_BF16, rows, cols, 0, kind)};
    unsigned char *table = check_bytes(MOE_PACKED_TABLE, 1);
    static const size_t every[] = {0, 2, 16}; /* then as they are */
    const size_t choice = check_below(4);
    if (choice < 3) {
        use_table(&p.source, table, every[choice], kind);
    } else {
        uint64_t tally[256] = {0};
        moe_packed_tally(tally, &p.source, 0, rows);
        moe_packed_choose(table, tally);
    }
    uint32_t *first = check_bytes((rows + 1) * sizeof *first, sizeof *first);
    moe_packed_count(first + 1, &p.source, table, 0, rows);
    moe_packed_sum(first, rows);
    const size_t n = first[rows], bytes = moe_format_row_bytes(MOE_FORMAT_PACKED, cols);
    const struct moe_packed_parts parts = {check_bytes(rows * bytes, 1), table, first,
                                           check_bytes(n * sizeof(uint32_t), sizeof(uint32_t)),
                                           check_bytes(n * MOE_PACKED_WEIGHTS, 1)};
    moe_packed_write(&parts, &p.source, 0, rows);
    p.packed = moe_packed_matrix(&parts, rows, cols);
    unsigned char *data =
        check_bytes(rows * (bytes + gap) - gap, 1); /* at an odd address, in rows with gaps */
    for (size_t i = 0; i < rows * (bytes + gap) - gap; i++) data[i] = (unsigned char)check_random();
    for (size_t r = 0; r < rows; r++) memcpy(data + r * (bytes + gap), parts.data + r * bytes, bytes);
    unsigned char *numbers = check_bytes((rows + 1 + n) * sizeof *first + 1, 1);
    memcpy(numbers + 1, first, (rows + 1) * sizeof *first);
    memcpy(numbers + 1 + (rows + 1) * sizeof *first, parts.block, n * sizeof *first);
    p.packed.data = data;
    p.packed.row_bytes = bytes + gap;
    p.packed.escapes.first = numbers + 1;
    p.packed.escapes.block = numbers + 1 + (rows + 1) * sizeof *first;
    return p;
}

struct moe_matrix check_matrix(enum moe_format f, size_t rows, size_t cols, size_t gap,
                               enum check_fill kind) {
    if (moe_format_is_packed(f)) {
        struct moe_matrix packed = check_packed(rows, cols, gap, kind).packed;
        packed.format = f;
        return packed;
    }
    const size_t bytes = moe_format_row_bytes(f, cols), row_bytes = bytes + gap;
    unsigned char *data = check_bytes(rows * row_bytes - gap, 1);
    for (size_t r = 0; r < rows; r++) {
        if (moe_format_is_quantised(f))
            fill_codes(data + r * row_bytes, bytes, kind, f);
        else
            fill_numbers(data + r * row_bytes, cols, kind, f);
        for (size_t i = 0; r + 1 < rows && i < gap; i++)
            data[r * row_bytes + bytes + i] = (unsigned char)check_random();
    }
    struct moe_matrix w = {.format = f, .rows = rows, .cols = cols, .row_bytes = row_bytes, .data = data};
    if (moe_format_is_quantised(f)) add_scales(&w, kind);
    return w;
}

void check_same_bits(const float *ref, const float *got, size_t n, const char *where, ...) {
    for (size_t i = 0; i < n; i++) {
        if (to_bits(ref[i]) == to_bits(got[i]) || (isnan(ref[i]) && isnan(got[i]))) continue;
        char text[256];
        va_list args;
        va_start(args, where);
        vsnprintf(text, sizeof text, where, args);
        va_end(args);
        cr_assert_fail("%s: element %zu of %zu is %a (%08x), scalar %a (%08x); seed %llu", text, i, n,
                       (double)got[i], to_bits(got[i]), (double)ref[i], to_bits(ref[i]),
                       (unsigned long long)seed);
    }
}

void check_near(double want, double got, double tolerance, const char *where, ...) {
    if (fabs(want - got) <= tolerance) return;
    char text[256];
    va_list args;
    va_start(args, where);
    vsnprintf(text, sizeof text, where, args);
    va_end(args);
    cr_assert_fail("%s: %.10g, expected %.10g: off by %.3g, tolerance %.3g; seed %llu", text, got, want,
                   fabs(want - got), tolerance, (unsigned long long)seed);
}

double check_ulp(double x) {
    const int e = ilogb(x);
    return ldexp(1, (x == 0 || e < -126 ? -126 : e) - 23);
}

/* One case per instruction set of the build; those that this CPU lacks are skipped by name. */
static struct criterion_test_params isa_params(void) {
    static enum moe_isa isas[MOE_ISA_COUNT];
    for (int i = 0; i < MOE_ISA_COUNT; i++) isas[i] = (enum moe_isa)i;
    return cr_make_param_array(enum moe_isa, isas, MOE_ISA_COUNT);
}

static struct check begin(enum moe_isa isa) {
    const char *name = moe_isa_get_name(isa), *only = getenv("MOE_TEST_ISA");
    if (only && strcmp(only, name) != 0) cr_skip("%s: MOE_TEST_ISA is %s", name, only);
    if (!moe_isa_runs_here(isa)) cr_skip("%s: this CPU does not have it", name);
    struct check c = {.isa = name, .scalar = isa == MOE_ISA_scalar, .ref = &moe_kernels_scalar};
    moe_kernels_select(&c.k, isa);
    seed_random();
    return c;
}

#define MOE_OP(op)                                                                                           \
    ParameterizedTestParameters(op, bits) {                                                                  \
        return isa_params();                                                                                 \
    }                                                                                                        \
    ParameterizedTest(enum moe_isa *isa, op, bits) {                                                         \
        const struct check c = begin(*isa);                                                                  \
        check_##op(&c);                                                                                      \
        check_reset();                                                                                       \
    }
#include "kernels/ops.def"
#undef MOE_OP

#define MOE_FORMAT_OP(op)                                                                                    \
    ParameterizedTestParameters(op, bits) {                                                                  \
        return isa_params();                                                                                 \
    }                                                                                                        \
    ParameterizedTest(enum moe_isa *isa, op, bits) {                                                         \
        const struct check c = begin(*isa);                                                                  \
        for (int f = 0; f < MOE_FORMAT_COUNT; f++) check_##op(&c, (enum moe_format)f);                       \
        check_reset();                                                                                       \
    }
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP

#define MOE_LAYOUT_OP(op)                                                                                    \
    ParameterizedTestParameters(op, bits) {                                                                  \
        return isa_params();                                                                                 \
    }                                                                                                        \
    ParameterizedTest(enum moe_isa *isa, op, bits) {                                                         \
        const struct check c = begin(*isa);                                                                  \
        for (int l = 0; l < MOE_LAYOUT_COUNT; l++) check_##op(&c, (enum moe_layout)l);                       \
        check_reset();                                                                                       \
    }
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
