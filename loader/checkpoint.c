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
#define SUFFIX      ".safetensors"
#define TORCH_FILE  "pytorch_model.bin"

enum { MAX_INDEX_BYTES = 100000000 };

/* Where a name leads. */
struct slot {
    const struct moe_tensor *tensor;
    const struct moe_safetensors *shard;
};

struct moe_checkpoint {
    char *path;  /* a directory, or one file */
    char *index; /* the file; NULL: there is none */
    size_t n_shards, n_slots;
    struct moe_safetensors **shards; /* [n_shards] those already open, by file name */
    struct slot *slots;              /* [n_slots] */
    struct moe_names names;          /* -> slots */
};

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The name in the directory: of a shard, of which there are several. */
static const char *base_name(const struct moe_checkpoint *ck, const struct moe_safetensors *shard) {
    return moe_safetensors_file(shard) + strlen(ck->path) + 1;
}

/* Files [n] of the directory, or the path itself if it is a file. */
static moe_status open_shards(struct moe_checkpoint *ck, const char *const *files, size_t n, moe_error *err) {
    ck->shards = calloc(n, sizeof *ck->shards);
    if (!ck->shards) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu files", ck->path, n);
    for (; ck->n_shards < n; ck->n_shards++) {
        char *path;
        const char *file = files[ck->n_shards];
        MOE_TRY(moe_text_join(&path, ck->path, *file ? "/" : "", file, err));
        moe_status status = moe_safetensors_open(&ck->shards[ck->n_shards], path, err);
        free(path);
        if (status != MOE_OK) return status;
    }
    return MOE_OK;
}

static moe_status fail_twice(const struct moe_checkpoint *ck, const struct moe_name *twice, moe_error *err) {
    const struct slot *a = twice[0].value, *b = twice[1].value;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: tensor %.200s: also in %.100s", moe_safetensors_file(a->shard),
                    twice->name, base_name(ck, b->shard));
}

static moe_status index_tensors(struct moe_checkpoint *ck, moe_error *err) {
    for (size_t s = 0; s < ck->n_shards; s++) ck->n_slots += moe_safetensors_count(ck->shards[s]);
    const struct moe_name *twice = NULL;
    struct moe_name *names = calloc(ck->n_slots + 1, sizeof *names);
    ck->slots = calloc(ck->n_slots + 1, sizeof *ck->slots);
    moe_status status = MOE_OK;
    if (!names || !ck->slots)
        status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for %zu tensors", ck->path, ck->n_slots);
    for (size_t s = 0, i = 0; s < ck->n_shards && status == MOE_OK; s++)
        for (size_t t = 0; t < moe_safetensors_count(ck->shards[s]); t++, i++) {
            ck->slots[i] = (struct slot){moe_safetensors_tensor(ck->shards[s], t), ck->shards[s]};
            names[i] = (struct moe_name){ck->slots[i].tensor->name, &ck->slots[i]};
        }
    if (status == MOE_OK) status = moe_names_build(&ck->names, &twice, names, ck->n_slots, err);
    if (twice) status = fail_twice(ck, twice, err);
    free(names);
    return status;
}

/* The index, copied out of its tree, which is large: one shard's header at a time comes on top. */
struct listing {
    char *file; /* of the index */
    size_t n;
    char *strings, *end; /* n times: name of a tensor, NUL, name of its shard, NUL */
};

/* The shard listed beside a tensor. */
static const char *shard_of(const char *tensor) {
    return tensor + strlen(tensor) + 1;
}

static const char *next_tensor(const char *tensor) {
    const char *shard = shard_of(tensor);
    return shard + strlen(shard) + 1;
}

/* A file of the directory itself: the index of a hostile checkpoint must not reach further. */
static moe_status read_shard_name(const char **out, struct moe_json_value v, moe_error *err) {
    MOE_TRY(moe_json_string(out, v, err));
    if (**out != '\0' && !strchr(*out, '/') && strcmp(*out, ".") != 0 && strcmp(*out, "..") != 0)
        return MOE_OK;
    return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%.200s\" is no name of a file beside it", v.doc->file,
                    v.path, *out);
}

static moe_status copy_index(struct listing *l, const struct moe_json *doc, moe_error *err) {
    struct moe_json_value v, map = moe_json_get(moe_json_root(doc), "weight_map");
    struct moe_json_iterator it = {0};
    const char *key, *shard = "";
    size_t n_bytes = 0;
    if (!moe_json_is_object(map) || moe_json_size(map) == 0)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: weight_map: expected an object that names files", doc->file);
    for (; moe_json_next(&it, map, &key, &v); l->n++) {
        MOE_TRY(read_shard_name(&shard, v, err));
        n_bytes += strlen(key) + strlen(shard) + 2;
    }
    l->end = l->strings = malloc(n_bytes);
    if (!l->strings) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", doc->file);
    it = (struct moe_json_iterator){0};
    while (moe_json_next(&it, map, &key, &v)) {
        moe_json_string(&shard, v, NULL); /* it is one: it was read above */
        l->end = stpcpy(stpcpy(l->end, key) + 1, shard) + 1;
    }
    return MOE_OK;
}

static moe_status read_index(struct listing *l, const char *dir, moe_error *err) {
    struct moe_json doc;
    MOE_TRY(moe_text_join(&l->file, dir, "/", INDEX_FILE, err));
    MOE_TRY(moe_json_open(&doc, l->file, MAX_INDEX_BYTES, err));
    moe_status status = copy_index(l, &doc, err);
    moe_json_close(&doc);
    return status;
}

/* Opens each file that the index names once, in the order of their names. */
static moe_status open_listed(struct moe_checkpoint *ck, const struct listing *l, moe_error *err) {
    const char **files = calloc(l->n, sizeof *files);
    if (!files) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", l->file);
    size_t i = 0, n = 1;
    for (const char *tensor = l->strings; tensor < l->end; tensor = next_tensor(tensor))
        files[i++] = shard_of(tensor);
    qsort(files, l->n, sizeof *files, compare_texts);
    for (i = 1; i < l->n; i++)
        if (strcmp(files[n - 1], files[i]) != 0) files[n++] = files[i];
    moe_status status = open_shards(ck, files, n, err);
    free(files);
    return status;
}

/* Every tensor of the index lies where the index says. */
static moe_status check_index(const struct moe_checkpoint *ck, const struct listing *l, moe_error *err) {
    for (const char *tensor = l->strings; tensor < l->end; tensor = next_tensor(tensor)) {
        const struct slot *slot = moe_names_find(&ck->names, tensor);
        if (!slot || strcmp(base_name(ck, slot->shard), shard_of(tensor)) != 0)
            return MOE_FAIL(err, MOE_E_FORMAT, "%s: weight_map: tensor %.200s is not in %.100s", l->file,
                            tensor, shard_of(tensor));
    }
    return MOE_OK;
}

static moe_status open_index(struct moe_checkpoint *ck, moe_error *err) {
    struct listing l = {0};
    moe_status status = read_index(&l, ck->path, err);
    if (status == MOE_OK) status = open_listed(ck, &l, err);
    if (status == MOE_OK) status = index_tensors(ck, err);
    if (status == MOE_OK) status = check_index(ck, &l, err);
    free(l.strings);
    ck->index = l.file;
    return status;
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

static bool is_safetensors(const char *path) {
    size_t n = strlen(path), n_suffix = strlen(SUFFIX);
    return n >= n_suffix && strcmp(path + n - n_suffix, SUFFIX) == 0;
}

static moe_status open_files(struct moe_checkpoint *ck, moe_error *err) {
    static const char *const itself[] = {""}, *const single[] = {SINGLE_FILE};
    bool has_single, has_index;
    struct stat st;
    if (!*ck->path) return MOE_FAIL(err, MOE_E_IO, "the name of the checkpoint's directory is empty");
    if (is_safetensors(ck->path) && stat(ck->path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        MOE_TRY(open_shards(ck, itself, 1, err));
        return index_tensors(ck, err);
    }
    MOE_TRY(find_file(&has_single, ck->path, SINGLE_FILE, err));
    if (has_single) {
        MOE_TRY(open_shards(ck, single, 1, err));
        return index_tensors(ck, err);
    }
    MOE_TRY(find_file(&has_index, ck->path, INDEX_FILE, err));
    return has_index ? open_index(ck, err) : fail_absent(ck->path, err);
}

moe_status moe_checkpoint_open(struct moe_checkpoint **out, const char *path, moe_error *err) {
    *out = NULL;
    struct moe_checkpoint *ck = calloc(1, sizeof *ck);
    if (!ck) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", path);
    moe_status status = moe_text_join(&ck->path, path, "", "", err);
    if (status == MOE_OK) status = open_files(ck, err);
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
    free(ck->index);
    free(ck->path);
    free(ck);
}

size_t moe_checkpoint_count(const struct moe_checkpoint *ck) {
    return ck->n_slots;
}

const struct moe_tensor *moe_checkpoint_tensor(const struct moe_checkpoint *ck, size_t i) {
    return ck->slots[i].tensor;
}

const struct moe_tensor *moe_checkpoint_find(const struct moe_checkpoint *ck, const char *name) {
    const struct slot *slot = moe_names_find(&ck->names, name);
    return slot ? slot->tensor : NULL;
}

const char *moe_checkpoint_listing(const struct moe_checkpoint *ck) {
    return ck->index ? ck->index : moe_safetensors_file(ck->shards[0]);
}

const char *moe_checkpoint_file(const struct moe_checkpoint *ck, const struct moe_tensor *t) {
    const struct slot *slot = moe_names_find(&ck->names, t->name);
    return moe_safetensors_file(slot->shard);
}

moe_status moe_checkpoint_read(const struct moe_checkpoint *ck, const struct moe_tensor *t, void *bytes,
                               size_t n, size_t offset, moe_error *err) {
    const struct slot *slot = moe_names_find(&ck->names, t->name);
    return moe_safetensors_read(slot->shard, t, bytes, n, offset, err);
}

moe_status moe_checkpoint_check(const struct moe_checkpoint *ck, moe_error *err) {
    for (size_t s = 0; s < ck->n_shards; s++) MOE_TRY(moe_safetensors_check(ck->shards[s], err));
    return MOE_OK;
}
