#ifndef MOE_LOADER_JSON_H
#define MOE_LOADER_JSON_H
/* The one JSON reader: cJSON made strict. Text is checked before cJSON sees it (UTF-8, grammar of RFC 8259 to
 * the letter, nesting depth, no NUL and no \u0000, nothing after the value), the tree after it (no duplicate
 * keys in one object, no number beyond double); typed reads name the file and the key path in every error.
 * Neither the process's locale nor the thread's matters. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct cJSON;

enum {
    MOE_JSON_MAX_DEPTH = 64,        /* containers inside containers */
    MOE_JSON_MAX_VALUES = 1 << 22,  /* in one document: cJSON takes up to 144 bytes for each */
    MOE_JSON_MAX_NUMBER_LENGTH = 63 /* characters: what every cJSON reads whole */
};
/* Integers beyond this are not exact: cJSON keeps every number as a double. 2^53 itself is left out, because
 * 2^53 + 1 reads the same. */
#define MOE_JSON_MAX_INT ((INT64_C(1) << 53) - 1)

/* A parsed document; `file` names it in messages. */
struct moe_json {
    struct cJSON *root;
    char *file;
};

/* A value inside a document, with the path that led to it for messages ("rope_scaling.factor", "layers[3]").
 */
struct moe_json_value {
    const struct moe_json *doc;
    const struct cJSON *node; /* NULL: absent */
    char path[160];
};

/* Parses text [n]; `file` is copied. MOE_E_FORMAT names line and column. Free with moe_json_close. */
moe_status moe_json_parse(struct moe_json *out, const char *file, const char *text, size_t n, moe_error *err);
/* Reads and parses a regular file of at most `max_bytes`. MOE_E_IO if it cannot be read. */
moe_status moe_json_open(struct moe_json *out, const char *file, size_t max_bytes, moe_error *err);
void moe_json_close(struct moe_json *doc);

struct moe_json_value moe_json_root(const struct moe_json *doc);
/* Member `key` of an object, exact case; a value with node NULL if it is absent, null, or v is no object.
 * O(members): to look up many keys of a large object, iterate once and build an index. */
struct moe_json_value moe_json_get(struct moe_json_value v, const char *key);
/* Whether `key` is present, even as null. */
bool moe_json_has(struct moe_json_value v, const char *key);

bool moe_json_is_object(struct moe_json_value v);
bool moe_json_is_array(struct moe_json_value v);
bool moe_json_is_string(struct moe_json_value v);
bool moe_json_is_number(struct moe_json_value v);
bool moe_json_is_bool(struct moe_json_value v);

/* Members or elements, in file order. Start with a zeroed iterator; false at the end. O(1) per step.
 * *key (objects only, else NULL; key may be NULL) is borrowed from the document. An element may be null: its
 * node is not NULL then, and every typed read of it fails. */
struct moe_json_iterator {
    const struct cJSON *next;
    size_t index;
    bool started;
};
bool moe_json_next(struct moe_json_iterator *it, struct moe_json_value v, const char **key,
                   struct moe_json_value *element);
size_t moe_json_size(struct moe_json_value v); /* O(n) */

/* Typed reads: MOE_E_FORMAT "FILE: PATH: missing | expected ..., found ..." */
/* An exact integer in [min, max], at most MOE_JSON_MAX_INT in size; 3.0 and 3 are integers, 3.5, 1e40 and "3"
 * are not. */
moe_status moe_json_int(int64_t *out, struct moe_json_value v, int64_t min, int64_t max, moe_error *err);
/* A number written with digits alone (no sign, fraction or exponent), at most MOE_JSON_MAX_INT. */
moe_status moe_json_natural(size_t *out, struct moe_json_value v, moe_error *err);
moe_status moe_json_number(double *out, struct moe_json_value v, moe_error *err); /* finite */
moe_status moe_json_bool(bool *out, struct moe_json_value v, moe_error *err);
/* Borrowed, terminated, contains no NUL. */
moe_status moe_json_string(const char **out, struct moe_json_value v, moe_error *err);

/* `text` as it stands between the quotes of a JSON string, terminated, into out, which has room for six times
 * as much and one byte. Returns its end. */
char *moe_json_escape(char *out, const char *text);

#endif
