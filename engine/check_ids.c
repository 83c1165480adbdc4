/* Special ids are read here once more, and not only as generation needs them: those of config.json that
 * generation_config.json overrides, and those that only other programs use, can be wrong as well. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/check.h"
#include "loader/file.h"
#include "loader/json.h"
#include "models/spec.h"

static const char *const files[] = {"config.json", "generation_config.json"};
static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
enum { N_FILES = sizeof files / sizeof *files, N_KEYS = sizeof keys / sizeof *keys };

static moe_status add_id(struct moe_check *c, struct moe_json_value v, const char *file, const char *key,
                         moe_error *err) {
    moe_check_report *r = &c->report;
    int64_t id;
    MOE_TRY(moe_json_int(&id, v, -MOE_JSON_MAX_INT, MOE_JSON_MAX_INT, err));
    if (r->n_ids == MOE_CHECK_MAX_IDS)
        return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: %s: more than %d special ids", v.doc->file, v.path,
                        MOE_CHECK_MAX_IDS);
    bool is_none = id == -1 && !strcmp(key, "pad_token_id"); /* as some write it */
    bool is_inside = is_none || (id >= 0 && (uint64_t)id < c->model->spec.vocab_size);
    c->ids[r->n_ids++] = (moe_check_id){file, key, id, is_inside};
    r->n_ids_outside += !is_inside;
    return MOE_OK;
}

/* One id, a list of them, or null. */
static moe_status add_key(struct moe_check *c, const struct moe_json *doc, const char *file, const char *key,
                          moe_error *err) {
    struct moe_json_value v = moe_json_get(moe_spec_text_config(moe_json_root(doc)), key), element;
    struct moe_json_iterator it = {0};
    if (!v.node) return MOE_OK;
    if (!moe_json_is_array(v)) return add_id(c, v, file, key, err);
    while (moe_json_next(&it, v, NULL, &element)) MOE_TRY(add_id(c, element, file, key, err));
    return MOE_OK;
}

static moe_status add_file(struct moe_check *c, const char *path, const char *file, moe_error *err) {
    struct moe_json doc;
    struct stat st;
    moe_status status = MOE_OK;
    if (stat(path, &st) != 0) return MOE_OK; /* config.json was there: it was read */
    MOE_TRY(moe_json_open(&doc, path, MOE_MAX_CONFIG_BYTES, err));
    for (size_t i = 0; i < N_KEYS && status == MOE_OK; i++) status = add_key(c, &doc, file, keys[i], err);
    moe_json_close(&doc);
    return status;
}

moe_status moe_check_read_ids(struct moe_check *c, const char *dir, moe_error *err) {
    c->report.ids = c->ids;
    for (size_t i = 0; i < N_FILES; i++) {
        char *path;
        MOE_TRY(moe_text_join(&path, dir, "/", files[i], err));
        moe_status status = add_file(c, path, files[i], err);
        free(path);
        if (status != MOE_OK) return status;
    }
    return MOE_OK;
}
