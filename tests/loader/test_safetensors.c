/* Every rule of the header, at its border; the files themselves; truncation. */
#include "loader/safetensors.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/loader/files.h"

TestSuite(safetensors, .init = files_begin, .fini = files_end);

#define T(name, dtype, shape, offsets)                                                                       \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

static struct moe_safetensors *open_good(const char *header, size_t n_data) {
    struct moe_safetensors *st;
    moe_error err;
    files_safetensors("t", header, n_data);
    moe_status status = moe_safetensors_open(&st, files_path("t"), &err);
    cr_assert(status == MOE_OK && st != NULL, "%s: %s", header, err.message);
    return st;
}

Test(safetensors, reads_tensors_in_the_order_of_their_data) {
    struct moe_safetensors *st = open_good(
        "{" T("b", "F32", "2,1", "6,14") "," T(
            "empty", "I64", "3,0", "6,6") ","
                                          "\"__metadata__\":{\"format\":\"pt\",\"\":\"x\"}," T(
                                              "a", "BF16", "3", "0,6") "," T("", "U8", "", "14,15") "}  \n",
        15);
    cr_assert(moe_safetensors_count(st) == 4);
    static const char *const names[] = {"a", "empty", "b", ""};
    static const size_t bytes[] = {6, 0, 8, 1}, ranks[] = {1, 2, 2, 0}, begins[] = {0, 6, 6, 14};
    for (size_t i = 0; i < 4; i++) {
        const struct moe_tensor *t = moe_safetensors_tensor(st, i);
        cr_expect(strcmp(t->name, names[i]) == 0 && t->n_bytes == bytes[i] && t->rank == ranks[i], "%zu", i);
        for (size_t b = 0; b < t->n_bytes; b++)
            cr_expect(((const unsigned char *)t->data)[b] == begins[i] + b);
    }
    const struct moe_tensor *b = moe_safetensors_tensor(st, 2);
    cr_expect(b->dtype == MOE_DTYPE_F32 && b->shape[0] == 2 && b->shape[1] == 1);
    cr_expect(strcmp(moe_safetensors_metadata(st, "format"), "pt") == 0);
    cr_expect(strcmp(moe_safetensors_metadata(st, ""), "x") == 0 &&
              moe_safetensors_metadata(st, "Format") == NULL);
    cr_expect(strcmp(moe_safetensors_file(st), files_path("t")) == 0);
    moe_safetensors_close(st);
    moe_safetensors_close(NULL);
}

Test(safetensors, accepts_what_the_reference_accepts) {
    static const struct {
        const char *header;
        size_t n_data;
    } cases[] = {
        {"{}", 0},
        {" \n\t\r{}\r\t\n ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"__metadata__\":null}", 0},
        {"{" T("a", "F32", "", "0,4") "}", 4},
        {"{" T("a", "F32", "0", "0,0") "}", 0},
        {"{" T("a", "F32", "0,4294967296,4294967296,4", "0,0") "}", 0}, /* 0 first: nothing overflows */
        {"{" T("a", "F32", "1,1,1,1,1,1,1,1", "0,4") "}", 4},
        {"{" T("a", "F4", "4", "0,2") "}", 2},
        {"{" T("a", "F6_E2M3", "4", "0,3") "}", 3},
        {"{" T("a", "F\\u00332", "1", "0,4") "}", 4},
        {"{" T("a", "U8", "1", "0,1") "," T("b", "F64", "1", "1,9") "}", 9}, /* unaligned */
        {"{" T("e", "U8", "0", "0,0") "," T("f", "U8", "0", "0,0") "," T("a", "U8", "1", "0,1") "," T(
             "g", "I8", "0", "1,1") "}",
         1},
        {"{\"a\":{\"x\":[1.5,-2e3,{\"y\":null}],\"data_offsets\":[0,1],\"shape\":[1],\"dtype\":\"U8\"}}", 1},
        {"{" T("a.b/c \\ud83d\\ude00", "U8", "1", "0,1") "}", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        moe_safetensors_close(open_good(cases[i].header, cases[i].n_data));
}

Test(safetensors, refuses_what_is_wrong_by_name) {
    static const struct {
        const char *header;
        size_t n_data;
        const char *message;
    } cases[] = {
        {"", 8, "t: header: line 1, column 1: unexpected end"},
        {"[]", 0, "t: header: expected an object"},
        {"null", 0, "t: header: expected an object"},
        {"{}x", 0, "something after the value"},
        {"{\"a\xff\":1}", 0, "invalid UTF-8"},
        {"{}", 1, "t: 1 bytes of data, but its tensors make 0"},
        {"{\"a\":1}", 0, "t: header: a: expected an object"},
        {"{\"a\":null}", 0, "t: header: a: expected an object"},
        {"{\"a\":[\"U8\",[1],[0,1]]}", 1, "t: header: a: expected an object"},
        {"{\"a\":{}}", 0, "t: header: a.dtype: missing"},
        {"{\"a\":{\"dtype\":\"U8\"}}", 0, "t: header: a.shape: expected an array"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "t: header: a.data_offsets: expected two integers"},
        {"{\"a\":{\"Dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a.dtype: missing"},
        {"{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         "a.dtype: expected a string, found 8"},
        {"{" T("a", "f32", "1", "0,4") "}", 4, "a.dtype: unknown dtype \"f32\""},
        {"{" T("a", "F8_E4M3FN", "1", "0,1") "}", 1, "a.dtype: unknown dtype \"F8_E4M3FN\""},
        {"{" T("a", "", "1", "0,1") "}", 1, "a.dtype: unknown dtype \"\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,1]}}", 1, "a.shape: expected an array"},
        {"{" T("a", "U8", "-1", "0,1") "}", 1, "a.shape[0]: expected an integer from 0"},
        {"{" T("a", "U8", "1,1.5", "0,1") "}", 1, "a.shape[1]: expected an integer from 0"},
        {"{" T("a", "U8", "1.0", "0,1") "}", 1, "a.shape[0]: expected an integer written without"},
        {"{" T("a", "U8", "1e0", "0,1") "}", 1, "a.shape[0]: expected an integer written without"},
        {"{" T("a", "U8", "-0", "0,0") "}", 0, "a.shape[0]: expected an integer written without"},
        {"{" T("a", "U8", "\\\"1\\\"", "0,1") "}", 1, "expected a value"},
        {"{" T("a", "U8", "true", "0,1") "}", 1, "a.shape[0]: expected an integer"},
        {"{" T("a", "U8", "null", "0,1") "}", 1, "a.shape[0]: expected an integer"},
        {"{" T("a", "U8", "9007199254740992", "0,1") "}", 1, "a.shape[0]: expected an integer"},
        {"{" T("a", "U8", "18446744073709551617", "0,1") "}", 1, "a.shape[0]: expected an integer"},
        {"{" T("a", "U8", "1,1,1,1,1,1,1,1,1", "0,1") "}", 1, "a.shape: rank 9, at most 8"},
        {"{" T("a", "U8", "4294967296,4294967296", "0,0") "}", 0, "a.shape: size overflows"},
        {"{" T("a", "U8", "4294967296,4294967296,0", "0,0") "}", 0, "a.shape: size overflows"},
        {"{" T("a", "U8", "2147483648,1073741824", "0,0") "}", 0,
         "a.shape: size overflows"}, /* in bits only */
        {"{" T("a", "F4", "3", "0,2") "}", 2, "a.shape: 12 bits of F4 are not whole bytes"},
        {"{" T("a", "F6_E3M2", "2", "0,2") "}", 2, "a.shape: 12 bits of F6_E3M2"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{\"0\":0,\"1\":1}}}", 1,
         "expected two integers"},
        {"{" T("a", "U8", "1", "0") "}", 1, "a.data_offsets: expected two integers"},
        {"{" T("a", "U8", "1", "0,1,1") "}", 1, "a.data_offsets: expected two integers"},
        {"{" T("a", "U8", "1", "0,\\u0031") "}", 1, "expected a value"},
        {"{" T("a", "U8", "1", "0,\"1\"") "}", 1, "a.data_offsets[1]: expected an integer"},
        {"{" T("a", "U8", "1", "-1,0") "}", 1, "a.data_offsets[0]: expected an integer"},
        {"{" T("a", "U8", "1", "0,1e0") "}", 1, "a.data_offsets[1]: expected an integer written"},
        {"{" T("a", "U8", "1", "1,0") "}", 1, "a.data_offsets: [1,0], but dtype and shape make 1 bytes"},
        {"{" T("a", "U8", "1", "0,2") "}", 2, "a.data_offsets: [0,2], but dtype and shape make 1"},
        {"{" T("a", "F32", "2", "0,4") "}", 4, "a.data_offsets: [0,4], but dtype and shape make 8"},
        {"{" T("a", "U8", "1", "1,2") "}", 2, "tensor a: data_offsets begin at 1, where 0 bytes are covered"},
        {"{" T("a", "U8", "2", "0,2") "," T("b", "U8", "2", "1,3") "}", 3,
         "tensor b: data_offsets begin at 1, where 2"},
        {"{" T("a", "U8", "2", "0,2") "," T("b", "U8", "2", "0,2") "}", 2,
         "tensor b: data_offsets begin at 0, where 2"},
        {"{" T("a", "U8", "2", "0,2") "," T("b", "U8", "2", "3,5") "}", 5,
         "tensor b: data_offsets begin at 3, where 2"},
        {"{" T("a", "U8", "2", "0,2") "," T("b", "U8", "0", "1,1") "}", 2,
         "tensor b: data_offsets begin at 1"},
        {"{" T("a", "U8", "2", "0,2") "," T("b", "U8", "0", "3,3") "}", 2,
         "tensor b: data_offsets begin at 3"},
        {"{" T("a", "U8", "2", "0,2") "}", 1, "t: 1 bytes of data, but its tensors make 2"},
        {"{" T("a", "U8", "2", "0,2") "}", 3, "t: 3 bytes of data, but its tensors make 2"},
        {"{" T("a", "U8", "1", "0,1") "," T("a", "U8", "1", "0,1") "}", 1, "header: a: duplicate key"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         "a.dtype: duplicate key"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__: duplicate key"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0, "__metadata__.a: duplicate key"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__.a: expected a string, found 1"},
        {"{\"__metadata__\":{\"a\":null}}", 0, "__metadata__.a: expected a string, found null"},
        {"{\"__metadata__\":[]}", 0, "header: __metadata__: expected an object"},
        {"{\"__metadata__\":\"x\"}", 0, "header: __metadata__: expected an object"},
        {"{\"__METADATA__\":{\"a\":\"b\"}}", 0, "__METADATA__.dtype: missing"},
        {"{\"a\\u0000\":{}}", 0, "\\u0000 is not supported"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":1e999}}", 0,
         "a.x: number out of range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct moe_safetensors *st = (void *)&st;
        moe_error err = {{0}};
        files_safetensors("t", cases[i].header, cases[i].n_data);
        moe_status status = moe_safetensors_open(&st, files_path("t"), &err);
        bool rank = contains(cases[i].message, "rank");
        cr_expect(status == (rank ? MOE_E_UNSUPPORTED : MOE_E_FORMAT) && st == NULL, "accepted: %s",
                  cases[i].header);
        cr_expect(strncmp(err.message, files_path("t"), strlen(files_path("t"))) == 0, "%s", err.message);
        cr_expect(contains(err.message, cases[i].message), "%s: \"%s\", expected \"%s\"", cases[i].header,
                  err.message, cases[i].message);
    }
}

Test(safetensors, knows_every_dtype) {
    for (int d = 0; d < MOE_DTYPE_COUNT; d++) {
        char header[200];
        size_t bytes = moe_dtype_bits((enum moe_dtype)d); /* of 8 elements */
        snprintf(header, sizeof header, "{" T("a", "%s", "8", "0,%zu") "}", moe_dtype_name((enum moe_dtype)d),
                 bytes);
        struct moe_safetensors *st = open_good(header, bytes);
        cr_expect(moe_safetensors_tensor(st, 0)->dtype == (enum moe_dtype)d);
        moe_safetensors_close(st);
    }
    enum moe_dtype d;
    cr_expect(!moe_dtype_find(&d, "F31") && moe_dtype_find(&d, "BF16") && d == MOE_DTYPE_BF16);
}

/* A file of `n` bytes whose first eight say `length`. */
static moe_status open_raw(uint64_t length, const char *rest, size_t n, moe_error *err) {
    unsigned char bytes[64] = {0};
    struct moe_safetensors *st;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, rest, strnlen(rest, sizeof bytes - 8));
    files_write("t", bytes, n);
    moe_status status = moe_safetensors_open(&st, files_path("t"), err);
    moe_safetensors_close(st);
    return status;
}

Test(safetensors, checks_the_length_of_the_header) {
    moe_error err;
    for (size_t n = 0; n < 8; n++) {
        cr_expect(open_raw(2, "{}", n, &err) == MOE_E_FORMAT, "%zu bytes", n);
        cr_expect(contains(err.message, "too short for safetensors"), "%s", err.message);
    }
    cr_expect(open_raw(0, "", 8, &err) == MOE_E_FORMAT && contains(err.message, "unexpected end"), "%s",
              err.message);
    cr_expect(open_raw(2, "{}", 8, &err) == MOE_E_FORMAT &&
              contains(err.message, "header of 2 bytes, expected at most 0"));
    cr_expect(open_raw(2, "{}", 9, &err) == MOE_E_FORMAT &&
              contains(err.message, "header of 2 bytes, expected at most 1"));
    cr_expect(open_raw(2, "{}", 10, &err) == MOE_OK, "%s", err.message);
    cr_expect(open_raw(3, "{}", 10, &err) == MOE_E_FORMAT);
    cr_expect(open_raw(UINT64_MAX, "{}", 10, &err) == MOE_E_FORMAT, "%s", err.message);
    cr_expect(contains(err.message, "header of 18446744073709551615 bytes"), "%s", err.message);
    cr_expect(open_raw(UINT64_MAX - 7, "{}", 10, &err) == MOE_E_FORMAT);
    cr_expect(open_raw((uint64_t)1 << 63, "{}", 10, &err) == MOE_E_FORMAT);
}

static moe_status open_sparse(size_t header, moe_error *err) {
    struct moe_safetensors *st;
    uint64_t length = header;
    files_write("t", &length, 8);
    cr_assert(truncate(files_path("t"), (off_t)(header + 8)) == 0);
    moe_status status = moe_safetensors_open(&st, files_path("t"), err);
    moe_safetensors_close(st);
    return status;
}

Test(safetensors, limits_the_header_to_100_million_bytes) {
    moe_error err;
    cr_expect(open_sparse(100000001, &err) == MOE_E_FORMAT);
    cr_expect(contains(err.message, "header of 100000001 bytes, expected at most 100000000"), "%s",
              err.message);
    cr_expect(open_sparse(100000000, &err) == MOE_E_FORMAT);
    cr_expect(contains(err.message, "header: line 1, column 1: expected a value"), "%s", err.message);
}

Test(safetensors, refuses_what_is_no_regular_file) {
    struct moe_safetensors *st;
    moe_error err;
    cr_assert(mkfifo(files_path("fifo"), 0600) == 0);
    static const char *const wrong[] = {"/dev/zero",     "/dev/null", "/dev/tty",
                                        "/proc/self/fd", "",          "/nonexistent"};
    for (size_t i = 0; i < 6; i++)
        cr_expect(moe_safetensors_open(&st, wrong[i], &err) == MOE_E_IO && st == NULL);
    cr_expect(moe_safetensors_open(&st, files_path("fifo"), &err) == MOE_E_IO);
    cr_expect(moe_safetensors_open(&st, files_path(""), &err) == MOE_E_IO &&
              contains(err.message, "is a directory"));
}

Test(safetensors, sees_a_truncation) {
    struct moe_safetensors *st = open_good("{" T("a", "U8", "9000", "0,9000") "}", 9000);
    moe_error err;
    cr_expect(moe_safetensors_check(st, &err) == MOE_OK);
    cr_assert(truncate(files_path("t"), 20000) == 0);
    cr_expect(moe_safetensors_check(st, &err) == MOE_OK); /* longer does no harm */
    cr_assert(truncate(files_path("t"), 5000) == 0);
    cr_expect(moe_safetensors_check(st, &err) == MOE_E_IO);
    cr_expect(contains(err.message, "/t: cut short from 9") && contains(err.message, "to 5000 bytes"), "%s",
              err.message);
    moe_safetensors_close(st);
    st = open_good("{" T("a", "U8", "9000", "0,9000") "}", 9000);
    cr_assert(unlink(files_path("t")) == 0);
    cr_expect(moe_safetensors_check(st, &err) == MOE_OK); /* deleted: the map keeps it */
    moe_safetensors_close(st);
}

/* DeepSeek-V3 in one file: 90,000 tensors, in an order that is not that of their data. */
Test(safetensors, large_headers_are_quick) {
    enum { N = 90000 };
    char *header = malloc(N * 140), *at = header;
    cr_assert(header != NULL);
    *at++ = '{';
    for (size_t i = 0; i < N; i++) {
        size_t place = i * 7919 % N; /* 7919 is prime to N: every place once */
        at +=
            sprintf(at, T("model.layers.%zu.mlp.experts.%zu.gate_proj.weight", "BF16", "1,2", "%zu,%zu") ",",
                    i % 61, i / 61, place * 4, place * 4 + 4);
    }
    at[-1] = '}';
    clock_t begin = clock();
    struct moe_safetensors *st = open_good(header, 4 * N);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_expect(seconds < 5, "%.2f s", seconds);
    cr_expect(moe_safetensors_count(st) == N);
    const char *data = moe_safetensors_tensor(st, 0)->data;
    for (size_t i = 0; i < N; i++) cr_assert(moe_safetensors_tensor(st, i)->data == data + 4 * i);
    moe_safetensors_close(st);
    free(header);
}
