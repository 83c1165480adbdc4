#include "loader/json.h"

#include <cjson/cJSON.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/json_check.h"
#include "loader/names.h"

/* ---- paths -------------------------------------------------------------------------------------------- */

/* Appends `text` as far as it fits. Not snprintf: a vocabulary has hundreds of thousands of keys. */
static void append(struct moe_json_value *v, const char *text) {
    size_t used = strlen(v->path), n = strnlen(text, sizeof v->path - 1 - used);
    memcpy(v->path + used, text, n);
    v->path[used + n] = '\0';
}

static void append_key(struct moe_json_value *v, const char *key) {
    if (v->path[0]) append(v, ".");
    append(v, key);
}

static void append_index(struct moe_json_value *v, size_t index) {
    char text[24], *at = text + sizeof text;
    *--at = '\0';
    *--at = ']';
    do *--at = (char)('0' + index % 10);
    while ((index /= 10) > 0);
    *--at = '[';
    append(v, at);
}

static const char *path_of(const struct moe_json_value *v) {
    return v->path[0] ? v->path : "top level";
}

/* ---- the tree that cJSON made: what only it can tell --------------------------------------------------- */

/* The way from the root to the current node. */
struct walk {
    const struct moe_json *doc;
    struct cJSON *parents[MOE_JSON_MAX_DEPTH];
    size_t depth;
    const char *text, *end; /* where the next number is looked for */
};

/* The path of `node`, which lies in the innermost container. */
static struct moe_json_value locate(const struct walk *w, const struct cJSON *node) {
    struct moe_json_value v = {.doc = w->doc, .node = node};
    for (size_t d = 0; d < w->depth; d++) {
        const struct cJSON *child = d + 1 < w->depth ? w->parents[d + 1] : node;
        if (child->string) {
            append_key(&v, child->string);
            continue;
        }
        size_t index = 0;
        for (const struct cJSON *c = w->parents[d]->child; c != child; c = c->next) index++;
        append_index(&v, index);
    }
    return v;
}

static moe_status fail_duplicate(const struct walk *w, const struct cJSON *object, const char *key,
                                 moe_error *err) {
    struct moe_json_value v = locate(w, object);
    append_key(&v, key);
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: duplicate key", w->doc->file, v.path);
}

/* `n` is small: every pair, and nothing to allocate. */
static moe_status check_few_keys(const struct walk *w, const struct cJSON *object, moe_error *err) {
    for (const struct cJSON *a = object->child; a; a = a->next)
        for (const struct cJSON *b = object->child; b != a; b = b->next)
            if (strcmp(a->string, b->string) == 0) return fail_duplicate(w, object, a->string, err);
    return MOE_OK;
}

static moe_status check_many_keys(const struct walk *w, const struct cJSON *object, size_t n,
                                  moe_error *err) {
    struct moe_names index = {0};
    const struct moe_name *twice = NULL;
    struct moe_name *keys = malloc(n * sizeof *keys);
    if (!keys) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu keys", w->doc->file, n);
    size_t i = 0;
    for (const struct cJSON *c = object->child; c; c = c->next) keys[i++].name = c->string;
    moe_status status = moe_names_build(&index, &twice, keys, n, err);
    if (twice) status = fail_duplicate(w, object, twice->name, err);
    moe_names_free(&index);
    free(keys);
    return status;
}

static moe_status check_keys(const struct walk *w, const struct cJSON *object, moe_error *err) {
    size_t n = 0;
    for (const struct cJSON *c = object->child; c; c = c->next) n++;
    return n <= 8 ? check_few_keys(w, object, err) : check_many_keys(w, object, n, err);
}

/* Keeps in valueint, whose own meaning nobody reads (it saturates), whether the number is digits alone: the
 * double cannot tell 2 from 2.0 and 2e0, which is no size in a safetensors header. */
static moe_status note_number(struct walk *w, struct cJSON *number, moe_error *err) {
    bool natural;
    w->text = moe_json_skip_number(&natural, w->text, w->end);
    number->valueint = natural;
    if (isfinite(number->valuedouble)) return MOE_OK;
    struct moe_json_value v = locate(w, number);
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: number out of range", w->doc->file, path_of(&v));
}

/* Visits every node in the order of the text. */
static moe_status check_tree(const struct moe_json *doc, const char *text, size_t n, moe_error *err) {
    struct walk w = {.doc = doc, .text = text, .end = text + n};
    struct cJSON *node = doc->root;
    while (node) {
        if (cJSON_IsNumber(node)) MOE_TRY(note_number(&w, node, err));
        if (cJSON_IsObject(node)) MOE_TRY(check_keys(&w, node, err));
        if (node->child) {
            w.parents[w.depth++] = node;
            node = node->child;
            continue;
        }
        while (!node->next && w.depth > 0) node = w.parents[--w.depth];
        node = node->next;
    }
    return MOE_OK;
}

/* ---- documents ---------------------------------------------------------------------------------------- */

/* cJSON reads numbers with strtod and the locale's decimal point, of which it takes one byte. */
static struct cJSON *parse_in_c_locale(const char *text, size_t n) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return NULL;
    locale_t before = uselocale(c);
    struct cJSON *root = cJSON_ParseWithLength(text, n);
    uselocale(before);
    freelocale(c);
    return root;
}

static moe_status fail_syntax(const char *file, const char *text, size_t offset, const char *fault,
                              moe_error *err) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: line %zu, column %zu: %s", file, line, column, fault);
}

moe_status moe_json_parse(struct moe_json *out, const char *file, const char *text, size_t n,
                          moe_error *err) {
    *out = (struct moe_json){0};
    size_t offset = 0;
    const char *fault = moe_json_check(&offset, text, n);
    if (fault) return fail_syntax(file, text, offset, fault, err);
    MOE_TRY(moe_text_join(&out->file, file, "", "", err));
    out->root = parse_in_c_locale(text, n);
    moe_status status = out->root ? check_tree(out, text, n, err)
                                  : MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for its content", file);
    if (status != MOE_OK) moe_json_close(out);
    return status;
}

moe_status moe_json_open(struct moe_json *out, const char *file, size_t max_bytes, moe_error *err) {
    int fd;
    size_t n;
    *out = (struct moe_json){0};
    MOE_TRY(moe_file_open(&fd, &n, file, err));
    moe_status status;
    char *text = NULL;
    if (n > max_bytes)
        status = MOE_FAIL(err, MOE_E_FORMAT, "%s: %zu bytes, expected at most %zu", file, n, max_bytes);
    else if (!(text = malloc(n + 1)))
        status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu bytes", file, n);
    else
        status = moe_file_read(fd, text, n, 0, file, err);
    close(fd);
    if (status == MOE_OK) status = moe_json_parse(out, file, text, n, err);
    free(text);
    return status;
}

void moe_json_close(struct moe_json *doc) {
    cJSON_Delete(doc->root);
    free(doc->file);
    *doc = (struct moe_json){0};
}

/* ---- navigation --------------------------------------------------------------------------------------- */

struct moe_json_value moe_json_root(const struct moe_json *doc) {
    return (struct moe_json_value){.doc = doc, .node = doc->root};
}

static const struct cJSON *find_member(struct moe_json_value v, const char *key) {
    if (!moe_json_is_object(v)) return NULL;
    const struct cJSON *c = v.node->child;
    while (c && strcmp(c->string, key) != 0) c = c->next;
    return c;
}

struct moe_json_value moe_json_get(struct moe_json_value v, const char *key) {
    const struct cJSON *member = find_member(v, key);
    v.node = cJSON_IsNull(member) ? NULL : member;
    append_key(&v, key);
    return v;
}

bool moe_json_has(struct moe_json_value v, const char *key) {
    return find_member(v, key) != NULL;
}

bool moe_json_is_object(struct moe_json_value v) {
    return cJSON_IsObject(v.node);
}

bool moe_json_is_array(struct moe_json_value v) {
    return cJSON_IsArray(v.node);
}

bool moe_json_is_string(struct moe_json_value v) {
    return cJSON_IsString(v.node);
}

bool moe_json_is_number(struct moe_json_value v) {
    return cJSON_IsNumber(v.node);
}

bool moe_json_is_bool(struct moe_json_value v) {
    return cJSON_IsBool(v.node);
}

bool moe_json_next(struct moe_json_iterator *it, struct moe_json_value v, const char **key,
                   struct moe_json_value *element) {
    if (!it->started) {
        *it = (struct moe_json_iterator){.next = v.node ? v.node->child : NULL, .started = true};
    }
    if (!it->next) return false;
    const struct cJSON *node = it->next;
    *element = v;
    element->node = node;
    if (node->string)
        append_key(element, node->string);
    else
        append_index(element, it->index);
    if (key) *key = node->string;
    it->next = node->next;
    it->index++;
    return true;
}

size_t moe_json_size(struct moe_json_value v) {
    size_t n = 0;
    for (const struct cJSON *c = v.node ? v.node->child : NULL; c; c = c->next) n++;
    return n;
}

/* ---- typed reads -------------------------------------------------------------------------------------- */

/* What is there instead, for a message. */
static const char *describe(char text[64], const struct cJSON *node) {
    if (cJSON_IsObject(node)) return "an object";
    if (cJSON_IsArray(node)) return "an array";
    if (cJSON_IsNull(node)) return "null";
    if (cJSON_IsBool(node)) return cJSON_IsTrue(node) ? "true" : "false";
    if (cJSON_IsNumber(node))
        snprintf(text, 64, "%.17g", node->valuedouble);
    else
        snprintf(text, 64, "\"%.50s\"", node->valuestring);
    return text;
}

static moe_status fail_type(struct moe_json_value v, const char *expected, moe_error *err) {
    char text[64];
    if (!v.node) return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: missing", v.doc->file, path_of(&v));
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: expected %s, found %s", v.doc->file, path_of(&v), expected,
                    describe(text, v.node));
}

moe_status moe_json_int(int64_t *out, struct moe_json_value v, int64_t min, int64_t max, moe_error *err) {
    double d = moe_json_is_number(v) ? v.node->valuedouble : NAN;
    bool exact = d == floor(d) && fabs(d) <= (double)MOE_JSON_MAX_INT;
    int64_t i = exact ? (int64_t)d : 0;
    if (!exact || i < min || i > max) {
        char expected[80];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min, (long long)max);
        return fail_type(v, expected, err);
    }
    *out = i;
    return MOE_OK;
}

moe_status moe_json_natural(size_t *out, struct moe_json_value v, moe_error *err) {
    int64_t i = 0;
    MOE_TRY(moe_json_int(&i, v, 0, MOE_JSON_MAX_INT, err));
    if (!v.node->valueint) /* see note_number */
        return fail_type(v, "an integer written without sign, fraction or exponent", err);
    *out = (size_t)i;
    return MOE_OK;
}

moe_status moe_json_number(double *out, struct moe_json_value v, moe_error *err) {
    if (!moe_json_is_number(v)) return fail_type(v, "a number", err);
    *out = v.node->valuedouble;
    return MOE_OK;
}

moe_status moe_json_bool(bool *out, struct moe_json_value v, moe_error *err) {
    if (!moe_json_is_bool(v)) return fail_type(v, "true or false", err);
    *out = cJSON_IsTrue(v.node);
    return MOE_OK;
}

moe_status moe_json_string(const char **out, struct moe_json_value v, moe_error *err) {
    if (!moe_json_is_string(v)) return fail_type(v, "a string", err);
    *out = v.node->valuestring;
    return MOE_OK;
}

char *moe_json_escape(char *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20) {
            out += sprintf(out, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\') *out++ = '\\';
        *out++ = (char)c;
    }
    *out = '\0';
    return out;
}
