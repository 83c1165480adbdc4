/* A packed checkpoint: which matrices of a model are packed, and how the new files take their place. */
#include "engine/pack_checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/pack_file.h"
#include "loader/file.h"
#include "loader/json.h"
#include "loader/staging.h"
#include "models/packed_tensor.h"
#include "models/spec.h"
#include "models/weights.h"

enum { MAX_CONFIG_BYTES = 16 << 20, MAX_SMALL_BYTES = 64 << 20 };

/* What goes with a checkpoint's file where it is put into a directory that is there. */
static const char *const companions[] = {"config.json", "generation_config.json", "tokenizer.json"};
enum { N_COMPANIONS = sizeof companions / sizeof *companions };

struct job {
    struct moe_pack_work work;
    const char *model, *place;
    char *directory; /* of the model */
    bool is_file;    /* what `place` is to be; else a directory */
    struct moe_checkpoint *source;
    const struct moe_tensor **listed; /* [n_listed] to be packed, by address */
    size_t n_listed, room;
    bool has_packed;                  /* the model is packed itself */
    struct moe_pack_matrix *matrices; /* [n_listed] in the order of the checkpoint */
    struct moe_staging *staging;
    moe_pack_report *report;
};

/* ---- what is packed ----------------------------------------------------------------------------------- */

static moe_status list_matrix(void *context, const struct moe_listed_tensor *m, moe_error *err) {
    struct job *j = context;
    const struct moe_tensor *t = moe_checkpoint_find(j->source, m->name);
    bool is_plain = t && t->dtype == MOE_DTYPE_BF16;
    if (!t) { /* another form, under other names */
        char *packed;
        MOE_TRY(moe_text_join(&packed, m->name, MOE_PACKED_SUFFIX, "", err));
        j->has_packed |= moe_checkpoint_find(j->source, packed) != NULL;
        free(packed);
    }
    if (!is_plain) return MOE_OK;
    if (j->n_listed == j->room) {
        size_t room = j->room ? 2 * j->room : 256;
        const struct moe_tensor **listed = realloc(j->listed, room * sizeof *listed);
        if (!listed) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", j->model);
        j->listed = listed;
        j->room = room;
    }
    j->listed[j->n_listed++] = t;
    return MOE_OK;
}

static int compare_addresses(const void *a, const void *b) {
    const struct moe_tensor *l = *(const struct moe_tensor *const *)a,
                            *r = *(const struct moe_tensor *const *)b;
    return (l > r) - (l < r);
}

/* The listed tensors, each once, as the checkpoint has them. */
static moe_status order_matrices(struct job *j, moe_error *err) {
    size_t n = 0;
    qsort(j->listed, j->n_listed, sizeof *j->listed, compare_addresses);
    j->matrices = calloc(j->n_listed, sizeof *j->matrices);
    if (!j->matrices) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", j->model);
    for (size_t i = 0; i < moe_checkpoint_count(j->source); i++) {
        const struct moe_tensor *t = moe_checkpoint_tensor(j->source, i);
        if (bsearch(&t, j->listed, j->n_listed, sizeof *j->listed, compare_addresses))
            j->matrices[n++] = moe_pack_matrix_of(t);
    }
    j->n_listed = n;
    return MOE_OK;
}

static moe_status resolve(struct moe_spec *spec, const char *directory, moe_error *err) {
    struct moe_json doc;
    char *file;
    MOE_TRY(moe_text_join(&file, directory, "/config.json", "", err));
    moe_status status = moe_json_open(&doc, file, MAX_CONFIG_BYTES, err);
    free(file);
    MOE_TRY(status);
    status = moe_spec_resolve(spec, moe_json_root(&doc), err);
    moe_json_close(&doc);
    return status;
}

static moe_status choose_matrices(struct job *j, moe_error *err) {
    struct moe_spec spec = {0};
    struct moe_weights weights = {0};
    const struct moe_weights_list list = {.matrix = list_matrix, .context = j};
    MOE_TRY(moe_file_directory(&j->directory, j->model, err));
    moe_status status = resolve(&spec, j->directory, err);
    if (status == MOE_OK) status = moe_checkpoint_open(&j->source, j->model, err);
    if (status == MOE_OK) {
        struct moe_source source = moe_source_checkpoint(j->source);
        status = moe_weights_list(&weights, &list, &spec, &source, err);
    }
    moe_weights_free(&weights);
    moe_spec_free(&spec);
    MOE_TRY(status);
    if (j->has_packed) return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: is packed already", j->model);
    if (!j->n_listed) return MOE_FAIL(err, MOE_E_UNSUPPORTED, "%s: has no matrix in BF16 to pack", j->model);
    return order_matrices(j, err);
}

/* ---- the place ---------------------------------------------------------------------------------------- */

static bool is_same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool is_of_model(const struct job *j) {
    const char *last = NULL;
    if (is_same_file(j->place, j->directory)) return true;
    for (size_t i = 0; i < moe_checkpoint_count(j->source); i++) {
        const char *file = moe_checkpoint_file(j->source, moe_checkpoint_tensor(j->source, i));
        if (file != last && is_same_file(j->place, file)) return true;
        last = file;
    }
    return false;
}

static moe_status fail_foreign(const struct job *j, moe_error *err) {
    return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: is there already, and is no packed checkpoint to be replaced",
                    j->place);
}

/* How many files a directory holds, if it holds nothing else. */
static moe_status count_files(size_t *n, const struct job *j, moe_error *err) {
    DIR *d = opendir(j->place);
    bool files = true;
    *n = 0;
    if (!d) return MOE_FAIL(err, MOE_E_IO, "%s: cannot be read: %s", j->place, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        files &= fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode);
        ++*n;
    }
    closedir(d);
    return files ? MOE_OK : fail_foreign(j, err);
}

static moe_status check_packed(const struct job *j, const char *file, moe_error *err) {
    struct moe_safetensors *st;
    moe_status status = moe_safetensors_open(&st, file, err);
    if (status == MOE_OK && !moe_safetensors_metadata(st, MOE_PACK_VERSION_KEY))
        status = fail_foreign(j, err);
    moe_safetensors_close(st);
    struct stat info; /* a file that is none of ours, or none at all, is not one that could not be read */
    bool is_unread = status == MOE_E_MEMORY || (status == MOE_E_IO && stat(file, &info) == 0);
    return status == MOE_OK || is_unread ? status : fail_foreign(j, err);
}

/* Only what this program wrote may be replaced: a name mistyped must not cost a directory. */
static moe_status check_replaceable(const struct job *j, bool is_directory, moe_error *err) {
    char *file;
    size_t n;
    if (is_directory == j->is_file) return fail_foreign(j, err);
    if (is_directory) {
        MOE_TRY(count_files(&n, j, err));
        if (n == 0) return MOE_OK;
    }
    MOE_TRY(moe_pack_file_of(&file, j->place, err));
    moe_status status = check_packed(j, file, err);
    free(file);
    return status;
}

static moe_status check_place(const struct job *j, moe_error *err) {
    struct stat st;
    if (!*j->place) return MOE_FAIL(err, MOE_E_ARGUMENT, "the name of the place to pack to is empty");
    if (lstat(j->place, &st) != 0) return MOE_OK;
    if (is_of_model(j)) return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: is the model itself", j->place);
    if (!j->work.options.replace) return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: is there already", j->place);
    return check_replaceable(j, S_ISDIR(st.st_mode), err);
}

/* ---- the small files ---------------------------------------------------------------------------------- */

static bool is_weights(const char *name) {
    static const char *const suffixes[] = {".safetensors", ".safetensors.index.json",
                                           ".bin",         ".bin.index.json",
                                           ".pt",          ".pth",
                                           ".gguf",        ".h5",
                                           ".msgpack",     ".onnx"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (moe_pack_has_suffix(name, suffixes[i])) return true;
    return false;
}

/* NAME of the model's directory, if it is a file of moderate size. */
static moe_status copy_small(const struct job *j, const char *name, moe_error *err) {
    char *from;
    struct stat st;
    moe_status status = MOE_OK;
    MOE_TRY(moe_text_join(&from, j->directory, "/", name, err));
    if (stat(from, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= MAX_SMALL_BYTES)
        status = moe_staging_copy(j->staging, name, from, err);
    free(from);
    return status;
}

static moe_status copy_directory(const struct job *j, moe_error *err) {
    DIR *d = opendir(j->directory);
    moe_status status = MOE_OK;
    if (!d) return MOE_FAIL(err, MOE_E_IO, "%s: cannot be read: %s", j->directory, strerror(errno));
    for (struct dirent *e; status == MOE_OK && (e = readdir(d));)
        if (e->d_name[0] != '.' && !is_weights(e->d_name)) status = copy_small(j, e->d_name, err);
    closedir(d);
    return status;
}

static moe_status read_file(char **out, size_t *n, const char *file, moe_error *err) {
    int fd;
    MOE_TRY(moe_file_open(&fd, n, file, err));
    *out = *n <= MAX_CONFIG_BYTES ? malloc(*n + 1) : NULL;
    moe_status status = *out ? moe_file_read(fd, *out, *n, 0, file, err)
                             : MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", file);
    close(fd);
    return status;
}

/* A config.json that is there already must say what the model's says, or the file beside it would be read as
 * another model. */
static moe_status check_config(const struct job *j, moe_error *err) {
    char *dir = NULL, *ours = NULL, *theirs = NULL, *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;
    const char *slash = strrchr(j->place, '/');
    moe_status status = moe_text_join(&dir, slash ? j->place : ".", "", "", err);
    if (status == MOE_OK && slash) dir[slash == j->place ? 1 : slash - j->place] = '\0';
    if (status == MOE_OK) status = moe_text_join(&ours, j->directory, "/", companions[0], err);
    if (status == MOE_OK) status = moe_text_join(&theirs, dir, "/", companions[0], err);
    if (status == MOE_OK) status = read_file(&a, &n_a, ours, err);
    if (status == MOE_OK) status = read_file(&b, &n_b, theirs, err);
    if (status == MOE_OK && (n_a != n_b || memcmp(a, b, n_a) != 0))
        status = MOE_FAIL(err, MOE_E_ARGUMENT, "%s: is not that of %s", theirs, j->model);
    free(b);
    free(a);
    free(theirs);
    free(ours);
    free(dir);
    return status;
}

static moe_status copy_companions(const struct job *j, moe_error *err) {
    if (moe_staging_has_beside(j->staging, companions[0])) MOE_TRY(check_config(j, err));
    for (size_t i = 0; i < N_COMPANIONS; i++)
        if (!moe_staging_has_beside(j->staging, companions[i])) MOE_TRY(copy_small(j, companions[i], err));
    return MOE_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static moe_status write_model(struct job *j, moe_error *err) {
    int fd;
    MOE_TRY(moe_staging_create(&fd, j->staging, MOE_PACK_FILE, err));
    moe_status status =
        moe_pack_file_write(fd, j->place, j->source, j->matrices, j->n_listed, &j->work, j->report, err);
    if (close(fd) != 0 && status == MOE_OK)
        status = MOE_FAIL(err, MOE_E_IO, "%s: cannot be completed: %s", j->place, strerror(errno));
    return status;
}

/* What was written, read back. */
static moe_status prove(struct job *j, moe_error *err) {
    struct moe_checkpoint *packed;
    moe_pack_report seen;
    char *file;
    MOE_TRY(moe_staging_path(&file, j->staging, MOE_PACK_FILE, err));
    moe_status status = moe_checkpoint_open(&packed, file, err);
    free(file);
    MOE_TRY(status);
    status = moe_pack_compare_checkpoints(j->source, packed, &j->work, &seen, err);
    moe_checkpoint_close(packed);
    return status;
}

static moe_status publish(struct job *j, moe_error *err) {
    bool replace = j->work.options.replace;
    if (!j->is_file) return moe_staging_publish_directory(j->staging, replace, err);
    for (size_t i = 0; i < N_COMPANIONS; i++) {
        struct stat st;
        char *path;
        MOE_TRY(moe_staging_path(&path, j->staging, companions[i], err));
        bool is_staged = stat(path, &st) == 0;
        free(path);
        if (is_staged) MOE_TRY(moe_staging_move_beside(j->staging, companions[i], err));
    }
    return moe_staging_publish_file(j->staging, MOE_PACK_FILE, replace, err);
}

static moe_status pack(struct job *j, moe_error *err) {
    MOE_TRY(choose_matrices(j, err));
    MOE_TRY(check_place(j, err));
    MOE_TRY(moe_staging_open(&j->staging, j->place, err));
    MOE_TRY(j->is_file ? copy_companions(j, err) : copy_directory(j, err));
    MOE_TRY(write_model(j, err));
    MOE_TRY(prove(j, err));
    return publish(j, err);
}

moe_status moe_pack_checkpoint(moe_pack_report *report, const char *model, const char *place,
                               const moe_pack_options *opt, moe_error *err) {
    struct job j = {.model = model, .place = place, .report = report};
    *report = (moe_pack_report){0};
    j.is_file = moe_pack_has_suffix(place, ".safetensors");
    moe_status status = moe_pack_work_open(&j.work, opt, err);
    if (status == MOE_OK) status = pack(&j, err);
    moe_staging_close(j.staging);
    moe_checkpoint_close(j.source);
    free(j.matrices);
    free(j.listed);
    free(j.directory);
    return status;
}
