#include "loader/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/file.h"
#include "loader/json.h"
#include "loader/names.h"

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE  "model.safetensors.index.json"
#define TORCH_FILE  "pytorch_model.bin"

enum { MAX_INDEX_BYTES = 100000000 };

/* Where a name leads. */
struct slot {
    const struct moe_tensor *tensor;
    const struct moe_safetensors *shard;
};

struct moe_checkpoint {
    size_t n_shards, n_slots;
    struct moe_safetensors **shards; /* [n_shards] those already open, by file name */
    struct slot *slots;              /* [n_slots] */
    struct moe_names names;          /* -> slots */
};

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *base_name(const struct moe_safetensors *shard) {
    return strrchr(moe_safetensors_file(shard), '/') + 1;
}

static moe_status open_shards(struct moe_checkpoint *ck, const char *dir, const char *const *files, size_t n,
                              moe_error *err) {
    ck->shards = calloc(n, sizeof *ck->shards);
    if (!ck->shards) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu files", dir, n);
    for (; ck->n_shards < n; ck->n_shards++) {
        char *path;
        MOE_TRY(moe_text_join(&path, dir, "/", files[ck->n_shards], err));
        moe_status status = moe_safetensors_open(&ck->shards[ck->n_shards], path, err);
        free(path);
        if (status != MOE_OK) return status;
    }
    return MOE_OK;
}

static moe_status fail_twice(const struct moe_name *twice, moe_error *err) {
    const struct slot *a = twice[0].value, *b = twice[1].value;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %.200s: also in %.100s", moe_safetensors_file(a->shard),
                    twice->name, base_name(b->shard));
}

static moe_status index_tensors(struct moe_checkpoint *ck, const char *dir, moe_error *err) {
    for (size_t s = 0; s < ck->n_shards; s++) ck->n_slots += moe_safetensors_count(ck->shards[s]);
    const struct moe_name *twice = NULL;
    struct moe_name *names = calloc(ck->n_slots + 1, sizeof *names);
    ck->slots = calloc(ck->n_slots + 1, sizeof *ck->slots);
    moe_status status = MOE_OK;
    if (!names || !ck->slots)
        status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu tensors", dir, ck->n_slots);
    for (size_t s = 0, i = 0; s < ck->n_shards && status == MOE_OK; s++)
        for (size_t t = 0; t < moe_safetensors_count(ck->shards[s]); t++, i++) {
            ck->slots[i] = (struct slot){moe_safetensors_tensor(ck->shards[s], t), ck->shards[s]};
            names[i] = (struct moe_name){ck->slots[i].tensor->name, &ck->slots[i]};
        }
    if (status == MOE_OK) status = moe_names_build(&ck->names, &twice, names, ck->n_slots, err);
    if (twice) status = fail_twice(twice, err);
    free(names);
    return status;
}

/* A file of the directory itself: the index of a hostile checkpoint must not reach further. */
static moe_status read_shard_name(const char **out, struct moe_json_value v, moe_error *err) {
    MOE_TRY(moe_json_string(out, v, err));
    if (**out != '\0' && !strchr(*out, '/') && strcmp(*out, ".") != 0 && strcmp(*out, "..") != 0)
        return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%.200s\" is no name of a file beside it", v.doc->file,
                    v.path, *out);
}

/* The distinct files that the map names, in order. files [members of the map]. */
static moe_status list_shards(const char **files, size_t *n, struct moe_json_value map, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value v;
    const char *key;
    size_t n_members = 0;
    *n = 0;
    while (moe_json_next(&it, map, &key, &v)) MOE_TRY(read_shard_name(&files[n_members++], v, err));
    qsort(files, n_members, sizeof *files, compare_texts);
    for (size_t i = 0; i < n_members; i++)
        if (*n == 0 || strcmp(files[*n - 1], files[i]) != 0) files[(*n)++] = files[i];
    return MOE_OK;
}

/* Every tensor of the map lies where the map says. */
static moe_status check_map(const struct moe_checkpoint *ck, struct moe_json_value map, moe_error *err) {
    struct moe_json_iterator it = {0};
    struct moe_json_value v;
    const char *key, *file = "";
    while (moe_json_next(&it, map, &key, &v)) {
        moe_json_string(&file, v, NULL); /* it is one: list_shards saw it */
        const struct slot *slot = moe_names_find(&ck->names, key);
        if (!slot || strcmp(base_name(slot->shard), file) != 0)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: weight_map: tensor %.200s is not in %.100s", v.doc->file,
                            key, file);
    }
    return MOE_OK;
}

static moe_status open_index(struct moe_checkpoint *ck, const char *dir, const struct moe_json *doc,
                             moe_error *err) {
    struct moe_json_value map = moe_json_get(moe_json_root(doc), "weight_map");
    size_t n_shards, n_members = moe_json_size(map);
    if (!moe_json_is_object(map) || n_members == 0)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: weight_map: expected an object that names files", doc->file);
    const char **files = calloc(n_members, sizeof *files);
    if (!files) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", doc->file);
    moe_status status = list_shards(files, &n_shards, map, err);
    if (status == MOE_OK) status = open_shards(ck, dir, files, n_shards, err);
    free(files);
    if (status == MOE_OK) status = index_tensors(ck, dir, err);
    return status == MOE_OK ? check_map(ck, map, err) : status;
}

/* Whether the directory lists `name`, even as a broken link: opening it then says what is wrong. */
static moe_status find_file(bool *found, const char *dir, const char *name, moe_error *err) {
    struct stat st;
    char *path;
    MOE_TRY(moe_text_join(&path, dir, "/", name, err));
    *found = lstat(path, &st) == 0;
    moe_status status = MOE_OK;
    if (!*found && errno != ENOENT) status = MOE_FAIL(err, MOE_E_IO, "%s: %s", path, strerror(errno));
    free(path);
    return status;
}

static moe_status fail_absent(const char *dir, moe_error *err) {
    bool directory, torch, torch_index;
    MOE_TRY(find_file(&directory, dir, ".", err));
    if (!directory) return MOE_FAIL(err, MOE_E_IO, "%s: no such directory", dir);
    MOE_TRY(find_file(&torch, dir, TORCH_FILE, err));
    MOE_TRY(find_file(&torch_index, dir, TORCH_FILE ".index.json", err));
    return MOE_FAIL(err, MOE_E_IO, "%s: neither " SINGLE_FILE " nor " INDEX_FILE " is there%s", dir,
                    torch || torch_index ? "; " TORCH_FILE " is, which is not supported" : "");
}

static moe_status open_files(struct moe_checkpoint *ck, const char *dir, moe_error *err) {
    static const char *const single[] = {SINGLE_FILE};
    bool has_single, has_index;
    if (!*dir) return MOE_FAIL(err, MOE_E_IO, "the name of the checkpoint's directory is empty");
    MOE_TRY(find_file(&has_single, dir, SINGLE_FILE, err));
    if (has_single) {
        MOE_TRY(open_shards(ck, dir, single, 1, err));
        return index_tensors(ck, dir, err);
    }
    MOE_TRY(find_file(&has_index, dir, INDEX_FILE, err));
    if (!has_index) return fail_absent(dir, err);
    char *path;
    struct moe_json doc;
    MOE_TRY(moe_text_join(&path, dir, "/", INDEX_FILE, err));
    moe_status status = moe_json_open(&doc, path, MAX_INDEX_BYTES, err);
    free(path);
    if (status == MOE_OK) status = open_index(ck, dir, &doc, err);
    moe_json_close(&doc);
    return status;
}

moe_status moe_checkpoint_open(struct moe_checkpoint **out, const char *dir, moe_error *err) {
    *out = NULL;
    struct moe_checkpoint *ck = calloc(1, sizeof *ck);
    if (!ck) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", dir);
    moe_status status = open_files(ck, dir, err);
    if (status == MOE_OK)
        *out = ck;
    else
        moe_checkpoint_close(ck);
    return status;
}

void moe_checkpoint_close(struct moe_checkpoint *ck) {
    if (!ck) return;
    moe_names_free(&ck->names);
    for (size_t s = 0; s < ck->n_shards; s++) moe_safetensors_close(ck->shards[s]);
    free(ck->slots);
    free(ck->shards);
    free(ck);
}

size_t moe_checkpoint_count(const struct moe_checkpoint *ck) {
    return ck->n_slots;
}

const struct moe_tensor *moe_checkpoint_find(const struct moe_checkpoint *ck, const char *name) {
    const struct slot *slot = moe_names_find(&ck->names, name);
    return slot ? slot->tensor : NULL;
}

const char *moe_checkpoint_file(const struct moe_checkpoint *ck, const struct moe_tensor *t) {
    const struct slot *slot = moe_names_find(&ck->names, t->name);
    return moe_safetensors_file(slot->shard);
}

moe_status moe_checkpoint_check(const struct moe_checkpoint *ck, moe_error *err) {
    for (size_t s = 0; s < ck->n_shards; s++) MOE_TRY(moe_safetensors_check(ck->shards[s], err));
    return MOE_OK;
}
