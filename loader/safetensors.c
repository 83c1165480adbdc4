#include "loader/safetensors.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/json.h"

/* The format: 8 bytes of header length (little-endian), the header (JSON), the data of the tensors. */
enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100000000 };
#define METADATA "__metadata__" /* the one key of a header that is no tensor */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are little-endian and used as they lie");
_Static_assert(sizeof(size_t) == 8, "offsets of a file fit size_t");

struct entry {
    struct moe_tensor tensor;
    size_t begin, end; /* bytes after the header */
};

struct pair {
    const char *key, *value;
};

struct moe_safetensors {
    char *file;
    int fd;
    size_t size, header_bytes;
    void *map;     /* [size] the whole file */
    char *strings; /* what tensors and metadata point to */
    size_t n_entries, n_pairs;
    struct entry *entries; /* [n_entries] in the order of their data */
    struct pair *pairs;    /* [n_pairs] by key */
};

static moe_status read_dtype(struct moe_tensor *t, struct moe_json_value v, moe_error *err) {
    const char *name;
    MOE_TRY(moe_json_string(&name, v, err));
    if (moe_dtype_find(&t->dtype, name)) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: unknown dtype \"%.40s\"", v.doc->file, v.path, name);
}

/* Counts bits, as the format does: types below a byte exist, tensors of broken bytes do not. */
static moe_status read_shape(struct moe_tensor *t, struct moe_json_value v, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key;
    size_t n_elements = 1, n_bits;
    bool overflow = false;
    if (!moe_json_is_array(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an array of integers", v.doc->file, v.path);
    while (moe_json_next(&it, v, &key, &element)) {
        size_t length;
        MOE_TRY(moe_json_natural(&length, element, err));
        if (t->rank == MOE_MAX_RANK)
            return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: rank %zu, at most %d is supported", v.doc->file,
                            v.path, moe_json_size(v), MOE_MAX_RANK);
        t->shape[t->rank++] = length;
        overflow |= __builtin_mul_overflow(n_elements, length, &n_elements);
    }
    overflow |= __builtin_mul_overflow(n_elements, moe_dtype_bits(t->dtype), &n_bits);
    if (overflow) return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: size overflows", v.doc->file, v.path);
    if (n_bits % 8 != 0)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: %zu bits of %s are not whole bytes", v.doc->file, v.path,
                        n_bits, moe_dtype_name(t->dtype));
    t->n_bytes = n_bits / 8;
    return MOE_OK;
}

static moe_status read_offsets(struct entry *e, struct moe_json_value v, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key;
    if (!moe_json_is_array(v) || moe_json_size(v) != 2)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected two integers", v.doc->file, v.path);
    for (int i = 0; moe_json_next(&it, v, &key, &element); i++)
        MOE_TRY(moe_json_natural(i == 0 ? &e->begin : &e->end, element, err));
    if (e->end < e->begin || e->end - e->begin != e->tensor.n_bytes)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: [%zu,%zu], but dtype and shape make %zu bytes",
                        v.doc->file, v.path, e->begin, e->end, e->tensor.n_bytes);
    return MOE_OK;
}

static moe_status read_tensor(struct entry *e, struct moe_json_value v, moe_error *err) {
    if (!moe_json_is_object(v))
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object", v.doc->file, v.path);
    MOE_TRY(read_dtype(&e->tensor, moe_json_get(v, "dtype"), err));
    MOE_TRY(read_shape(&e->tensor, moe_json_get(v, "shape"), err));
    return read_offsets(e, moe_json_get(v, "data_offsets"), err);
}

/* Copies `text` to the end of the strings. */
static const char *keep(char **end, const char *text) {
    char *copy = *end;
    *end = stpcpy(copy, text) + 1;
    return copy;
}

/* Names are copied, because cJSON's tree is ten times as large as what is kept of it. They fit in as many
 * bytes as the header has: there, each has two quotes. */
static moe_status allocate(struct moe_safetensors *st, struct moe_json_value root, moe_error *err) {
    st->n_pairs = moe_json_size(moe_json_get(root, METADATA));
    st->n_entries = moe_json_size(root) - moe_json_has(root, METADATA);
    st->strings = malloc(st->header_bytes);
    st->entries = calloc(st->n_entries + 1, sizeof *st->entries);
    st->pairs = calloc(st->n_pairs + 1, sizeof *st->pairs);
    if (st->strings && st->entries && st->pairs) return MOE_OK;
    return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu tensors", st->file, st->n_entries);
}

static int compare_pairs(const void *a, const void *b) {
    return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static moe_status read_metadata(struct moe_safetensors *st, char **end, struct moe_json_value v,
                                moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value element;
    const char *key, *value;
    if (v.node && !moe_json_is_object(v)) /* null is fine */
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected an object", v.doc->file, v.path);
    for (struct pair *p = st->pairs; moe_json_next(&it, v, &key, &element); p++) {
        MOE_TRY(moe_json_string(&value, element, err));
        *p = (struct pair){keep(end, key), keep(end, value)};
    }
    qsort(st->pairs, st->n_pairs, sizeof *st->pairs, compare_pairs);
    return MOE_OK;
}

static int compare_entries(const void *a, const void *b) {
    const struct entry *l = a, *r = b;
    if (l->begin != r->begin) return l->begin < r->begin ? -1 : 1;
    if (l->end != r->end) return l->end < r->end ? -1 : 1;
    /* empty tensors at one place: as the header has them */
    return (l->tensor.name > r->tensor.name) - (l->tensor.name < r->tensor.name);
}

/* The data must cover the file from the header to its end, each byte once. */
static moe_status check_cover(const struct moe_safetensors *st, moe_error *err) {
    size_t data_bytes = st->size - LENGTH_BYTES - st->header_bytes, end = 0;
    for (size_t i = 0; i < st->n_entries; i++) {
        const struct entry *e = &st->entries[i];
        if (e->begin != end)
            return MOE_FAIL(err, MOE_E_FORMAT,
                            "%s: tensor %.200s: data_offsets begin at %zu, where %zu bytes are covered",
                            st->file, e->tensor.name, e->begin, end);
        end = e->end;
    }
    if (end == data_bytes) return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %zu bytes of data, but its tensors make %zu", st->file,
                    data_bytes, end);
}

static moe_status read_header(struct moe_safetensors *st, const struct moe_json *doc, moe_error *err) {
    struct moe_json_value v, root = moe_json_root(doc);
    struct moe_json_iterator it = {0};
    const char *key;
    if (!moe_json_is_object(root)) return MOE_FAIL(err, MOE_E_FORMAT, "%s: expected an object", doc->file);
    MOE_TRY(allocate(st, root, err));
    char *end = st->strings;
    MOE_TRY(read_metadata(st, &end, moe_json_get(root, METADATA), err));
    for (struct entry *e = st->entries; moe_json_next(&it, root, &key, &v);) {
        if (strcmp(key, METADATA) == 0) continue;
        MOE_TRY(read_tensor(e, v, err));
        e++->tensor.name = keep(&end, key);
    }
    qsort(st->entries, st->n_entries, sizeof *st->entries, compare_entries);
    return check_cover(st, err);
}

/* The header is read, not mapped: a file cut short at this moment is then an error like any other. */
static moe_status load_header(struct moe_safetensors *st, struct moe_json *doc, moe_error *err) {
    uint64_t n = 0;
    if (st->size < LENGTH_BYTES)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %zu bytes, too short for safetensors", st->file, st->size);
    MOE_TRY(moe_file_read(st->fd, &n, LENGTH_BYTES, 0, st->file, err));
    size_t rest = st->size - LENGTH_BYTES, most = rest < MAX_HEADER_BYTES ? rest : MAX_HEADER_BYTES;
    if (n > most)
        return MOE_FAIL(err, MOE_E_FORMAT,
                        "%s: header of %llu bytes, expected at most %zu: no safetensors file, or cut short",
                        st->file, (unsigned long long)n, most);
    st->header_bytes = (size_t)n;
    char *label = NULL, *text = malloc(st->header_bytes + 1);
    moe_status status = MOE_OK;
    if (!text) status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for its header", st->file);
    if (status == MOE_OK) status = moe_text_join(&label, st->file, ": header", "", err);
    if (status == MOE_OK) status = moe_file_read(st->fd, text, st->header_bytes, LENGTH_BYTES, st->file, err);
    if (status == MOE_OK) status = moe_json_parse(doc, label, text, st->header_bytes, err);
    free(label);
    free(text);
    return status;
}

static moe_status map_data(struct moe_safetensors *st, moe_error *err) {
    void *map = mmap(NULL, st->size, PROT_READ, MAP_PRIVATE, st->fd, 0);
    if (map == MAP_FAILED)
        return MOE_FAIL(err, errno == ENOMEM ? MOE_E_MEMORY : MOE_E_IO, "%s: cannot be mapped: %s", st->file,
                        strerror(errno));
    /* where the file system can, its pages are cached and mapped by 2 MiB: a tenth more bandwidth. A refusal
     * changes nothing else. */
    (void)madvise(map, st->size, MADV_HUGEPAGE);
    st->map = map;
    const char *data = (const char *)map + LENGTH_BYTES + st->header_bytes;
    for (size_t i = 0; i < st->n_entries; i++) st->entries[i].tensor.data = data + st->entries[i].begin;
    return MOE_OK;
}

moe_status moe_safetensors_open(struct moe_safetensors **out, const char *file, moe_error *err) {
    struct moe_json doc = {0};
    *out = NULL;
    struct moe_safetensors *st = calloc(1, sizeof *st);
    if (!st) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", file);
    st->fd = -1;
    moe_status status = moe_text_join(&st->file, file, "", "", err);
    if (status == MOE_OK) status = moe_file_open(&st->fd, &st->size, file, err);
    if (status == MOE_OK) status = load_header(st, &doc, err);
    if (status == MOE_OK) status = read_header(st, &doc, err);
    if (status == MOE_OK) status = map_data(st, err);
    moe_json_close(&doc);
    if (status == MOE_OK)
        *out = st;
    else
        moe_safetensors_close(st);
    return status;
}

void moe_safetensors_close(struct moe_safetensors *st) {
    if (!st) return;
    if (st->map) munmap(st->map, st->size);
    if (st->fd >= 0) close(st->fd);
    free(st->pairs);
    free(st->entries);
    free(st->strings);
    free(st->file);
    free(st);
}

size_t moe_safetensors_count(const struct moe_safetensors *st) {
    return st->n_entries;
}

const struct moe_tensor *moe_safetensors_tensor(const struct moe_safetensors *st, size_t i) {
    return &st->entries[i].tensor;
}

const char *moe_safetensors_file(const struct moe_safetensors *st) {
    return st->file;
}

size_t moe_safetensors_size(const struct moe_safetensors *st) {
    return st->size;
}

moe_status moe_safetensors_read(const struct moe_safetensors *st, const struct moe_tensor *t, void *bytes,
                                size_t n, size_t offset, moe_error *err) {
    size_t begin = (size_t)((const char *)t->data - (const char *)st->map);
    return moe_file_read(st->fd, bytes, n, begin + offset, st->file, err);
}

const char *moe_safetensors_metadata(const struct moe_safetensors *st, const char *key) {
    const struct pair wanted = {.key = key};
    const struct pair *p = bsearch(&wanted, st->pairs, st->n_pairs, sizeof *st->pairs, compare_pairs);
    return p ? p->value : NULL;
}

moe_status moe_safetensors_check(const struct moe_safetensors *st, moe_error *err) {
    struct stat now;
    if (fstat(st->fd, &now) != 0)
        return MOE_FAIL(err, MOE_E_IO, "%s: cannot be examined: %s", st->file, strerror(errno));
    if ((size_t)now.st_size < st->size)
        return MOE_FAIL(err, MOE_E_IO, "%s: cut short from %zu to %zu bytes while in use", st->file, st->size,
                        (size_t)now.st_size);
    return MOE_OK;
}
