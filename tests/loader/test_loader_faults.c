/* Every call of the loader that can fail, failing. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "loader/checkpoint.h"
#include "loader/file.h"
#include "loader/json.h"
#include "loader/staging.h"
#include "tests/check/faults.h"
#include "tests/loader/files.h"

TestSuite(loader_faults, .init = files_begin, .fini = files_end);

#define TENSOR(dtype, begin, end)                                                                            \
    "{\"dtype\":\"" dtype "\",\"shape\":[2],\"data_offsets\":[" begin "," end "]}"

static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"v\":\"1\"},\"b\":" TENSOR(
    "BF16", "8", "12") ",\"a\":" TENSOR("F32", "0", "8") "}";

static moe_status json_body(void *context, moe_error *err) {
    struct moe_json doc;
    moe_status status = moe_json_open(&doc, context, 10000, err);
    moe_json_close(&doc);
    return status;
}

static moe_status safetensors_body(void *context, moe_error *err) {
    struct moe_safetensors *st;
    moe_status status = moe_safetensors_open(&st, context, err);
    cr_assert((st != NULL) == (status == MOE_OK));
    if (status == MOE_OK) status = moe_safetensors_check(st, err);
    moe_safetensors_close(st);
    return status;
}

static moe_status checkpoint_body(void *context, moe_error *err) {
    struct moe_checkpoint *ck;
    moe_status status = moe_checkpoint_open(&ck, context, err);
    cr_assert((ck != NULL) == (status == MOE_OK));
    if (status == MOE_OK) status = moe_checkpoint_check(ck, err);
    moe_checkpoint_close(ck);
    return status;
}

static moe_status tensors_body(void *context, moe_error *err) {
    moe_tensors *t;
    moe_status status = moe_tensors_open(&t, context, err);
    cr_assert((t != NULL) == (status == MOE_OK));
    moe_tensors_close(t);
    return status;
}

static moe_status writer_body(void *context, moe_error *err) {
    static const float row[3] = {1, 2, 3};
    moe_tensor_writer *w;
    moe_status status = moe_tensor_writer_open(&w, context, "x", 3, err);
    cr_assert((w != NULL) == (status == MOE_OK));
    if (status != MOE_OK) return status;
    moe_status first = moe_tensor_writer_append(w, row, err);
    if (first != MOE_OK) cr_assert(moe_tensor_writer_append(w, row, NULL) == first); /* and stays failed */
    status = moe_tensor_writer_close(w, first == MOE_OK ? err : NULL);
    cr_assert(first == MOE_OK || status == MOE_E_IO);
    return status;
}

static moe_status fill_staging(struct moe_staging *s, const char *source, moe_error *err) {
    int fd;
    MOE_TRY(moe_staging_create(&fd, s, "a", err));
    moe_status status = moe_file_write(fd, "hello", 5, 0, "a", err);
    close(fd);
    MOE_TRY(status);
    MOE_TRY(moe_staging_copy(s, "b", source, err));
    if (moe_staging_has_beside(s, "b")) return MOE_FAIL(err, MOE_E_IO, "b is there");
    return moe_staging_move_beside(s, "b", err);
}

/* A file is published, then a directory; either way what is there goes again. */
static moe_status staging_body(void *context, moe_error *err) {
    char place[500], beside[500], *dir;
    struct moe_staging *s;
    snprintf(place, sizeof place, "%s-out", (const char *)context);
    snprintf(beside, sizeof beside, "%.*s/b", (int)(strrchr(place, '/') - place), place);
    moe_status status = moe_staging_open(&s, place, err);
    if (status == MOE_OK) status = fill_staging(s, context, err);
    if (status == MOE_OK) status = moe_staging_publish_file(s, "a", true, err);
    moe_staging_close(s);
    unlink(place);
    unlink(beside);
    MOE_TRY(status);
    MOE_TRY(moe_file_directory(&dir, context, err));
    free(dir);
    MOE_TRY(moe_staging_open(&s, place, err));
    status = moe_staging_publish_directory(s, false, err);
    moe_staging_close(s);
    rmdir(place);
    return status;
}

/* In place of a directory that is there; what is put beside the place may be there too. */
static moe_status replacing_body(void *context, moe_error *err) {
    char place[500];
    struct moe_staging *s;
    int fd;
    snprintf(place, sizeof place, "%s/out", (const char *)context);
    mkdir(place, 0700);
    MOE_TRY(moe_staging_open(&s, place, err));
    moe_status status = moe_staging_publish_directory(s, true, err);
    moe_staging_close(s);
    MOE_TRY(status);
    MOE_TRY(moe_staging_open(&s, place, err));
    status = moe_staging_create(&fd, s, "kept", err);
    if (status == MOE_OK) close(fd);
    if (status == MOE_OK) status = moe_staging_move_beside(s, "kept", err);
    moe_staging_close(s);
    return status;
}

static moe_status arena_body(void *context, moe_error *err) {
    (void)context;
    struct moe_arena a = {0};
    moe_arena_take(&a, 3, 100);
    moe_status status = moe_arena_back(&a, err);
    moe_arena_free(&a);
    return status;
}

static void check(const char *label, faults_body *body, const char *name, moe_status expected,
                  size_t at_least) {
    char path[400];
    snprintf(path, sizeof path, "%s", files_path(name));
    size_t n = faults_check(label, body, path, expected);
    cr_expect(n >= at_least, "%s: %zu calls that can fail, expected at least %zu", label, n, at_least);
}

Test(loader_faults, json) {
    files_text("few.json", "{\"a\":[1,\"x\",{}],\"b\":null}");
    files_text("many.json", "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}");
    files_text("twice.json", "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"a\":9}");
    check("few", json_body, "few.json", MOE_OK, 12);
    check("many", json_body, "many.json", MOE_OK, 22);
    check("twice", json_body, "twice.json", MOE_E_FORMAT, 22);
}

Test(loader_faults, safetensors) {
    files_safetensors("t", header, 12);
    check("safetensors", safetensors_body, "t", MOE_OK, 40);
    files_safetensors("bad", header, 13);
    check("bad safetensors", safetensors_body, "bad", MOE_E_FORMAT, 40);
}

Test(loader_faults, checkpoint) {
    files_safetensors("s1", header, 12);
    files_safetensors("s2", "{\"c\":" TENSOR("I8", "0", "2") "}", 2);
    files_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"s1\",\"b\":\"s1\",\"c\":\"s2\"}}");
    check("sharded", checkpoint_body, "", MOE_OK, 80);
    files_safetensors("s2", "{\"a\":" TENSOR("I8", "0", "2") "}", 2);
    check("twice", checkpoint_body, "", MOE_E_FORMAT, 80);
    files_safetensors("model.safetensors", header, 12);
    check("single", checkpoint_body, "", MOE_OK, 40);
    files_safetensors("one.safetensors", header, 12);
    check("one file", checkpoint_body, "one.safetensors", MOE_OK, 40);
}

Test(loader_faults, empty_directory) {
    check("empty directory", checkpoint_body, "", MOE_E_IO, 8);
}

Test(loader_faults, tensors) {
    files_safetensors("t", header, 12);
    check("tensors", tensors_body, "t", MOE_OK, 40);
    check("writer", writer_body, "w", MOE_OK, 10);
}

Test(loader_faults, arena) {
    check("arena", arena_body, "", MOE_OK, 1);
}

static size_t count_entries(void) {
    DIR *d = opendir(files_path(""));
    size_t n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n - 2; /* . and .. */
}

Test(loader_faults, staging) {
    files_text("source", "text");
    check("staging", staging_body, "source", MOE_OK, 30);
    cr_expect_eq(count_entries(), 1); /* source: what failed left nothing */
}

/* More than is copied at a time. */
Test(loader_faults, staging_a_long_file) {
    static char text[(1 << 16) + 1];
    files_write("source", text, sizeof text);
    check("staging a long file", staging_body, "source", MOE_OK, 30);
}

/* No error that a rename tells, and none that hides it, lets it go over a file that is there. */
Test(loader_faults, staging_over_what_is_there) {
    files_text("kept", "text");
    check("staging over what is there", replacing_body, "", MOE_E_IO, 10);
    char text[8] = "";
    FILE *f = fopen(files_path("kept"), "rb");
    cr_assert(f && fread(text, 1, sizeof text, f) == 4);
    fclose(f);
    cr_expect_str_eq(text, "text");
    cr_expect_eq(count_entries(), 2); /* and out */
}
