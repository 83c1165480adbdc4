/* Directories of shards: the index, links, duplicates, what is missing. */
#include "loader/checkpoint.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/loader/files.h"

TestSuite(checkpoint, .init = files_begin, .fini = files_end);

#define ONE(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
#define INDEX     "model.safetensors.index.json"

static void expect_refused(moe_status expected, const char *message) {
    struct moe_checkpoint *ck = (void *)&ck;
    moe_error err = {{0}};
    moe_status status = moe_checkpoint_open(&ck, files_path(""), &err);
    cr_expect(status == expected && ck == NULL, "status %d: %s", (int)status, err.message);
    cr_expect(strncmp(err.message, files_path(""), strlen(files_path(""))) == 0, "%s", err.message);
    cr_expect(contains(err.message, message), "\"%s\", expected \"%s\"", err.message, message);
}

static struct moe_checkpoint *open_good(void) {
    struct moe_checkpoint *ck;
    moe_error err;
    moe_status status = moe_checkpoint_open(&ck, files_path(""), &err);
    cr_assert(status == MOE_OK, "%s", err.message);
    return ck;
}

Test(checkpoint, opens_a_single_file) {
    files_safetensors("model.safetensors", ONE("a"), 1);
    struct moe_checkpoint *ck = open_good();
    cr_expect(moe_checkpoint_count(ck) == 1 && moe_checkpoint_find(ck, "b") == NULL);
    const struct moe_tensor *t = moe_checkpoint_find(ck, "a");
    cr_assert(t != NULL && t->n_bytes == 1);
    cr_expect(strcmp(moe_checkpoint_file(ck, t), files_path("model.safetensors")) == 0);
    cr_expect(strcmp(moe_checkpoint_listing(ck), files_path("model.safetensors")) == 0);
    moe_checkpoint_close(ck);
    moe_checkpoint_close(NULL);
}

Test(checkpoint, opens_the_shards_of_an_index) {
    files_safetensors("two", "{}", 0);
    files_safetensors("one.safetensors", ONE("a"), 1);
    files_safetensors("s-2.safetensors",
                      "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"unlisted\":{"
                      "\"dtype\":\"I8\",\"shape\":"
                      "[],\"data_offsets\":[1,2]}}",
                      2);
    files_text(INDEX, "{\"metadata\":{\"total_size\":2},\"weight_map\":{\"b\":\"s-2.safetensors\",\"a\":"
                      "\"one.safetensors\"}}");
    struct moe_checkpoint *ck = open_good();
    moe_error err;
    cr_expect(moe_checkpoint_count(ck) == 3);
    cr_expect(strcmp(moe_checkpoint_listing(ck), files_path(INDEX)) == 0);
    static const char *const names[] = {"a", "b", "unlisted"}, *const files[] = {"one.", "s-2.", "s-2."};
    for (size_t i = 0; i < 3; i++) {
        const struct moe_tensor *t = moe_checkpoint_find(ck, names[i]);
        cr_assert(t != NULL && strcmp(t->name, names[i]) == 0);
        cr_expect(contains(moe_checkpoint_file(ck, t), files[i]));
    }
    cr_expect(moe_checkpoint_check(ck, &err) == MOE_OK);
    cr_assert(truncate(files_path("s-2.safetensors"), 9) == 0);
    cr_expect(moe_checkpoint_check(ck, &err) == MOE_E_IO &&
              contains(err.message, "s-2.safetensors: cut short"));
    moe_checkpoint_close(ck);
}

Test(checkpoint, prefers_the_single_file_as_transformers_does) {
    files_safetensors("model.safetensors", ONE("a"), 1);
    files_text(INDEX, "{\"weight_map\":{\"b\":\"gone.safetensors\"}}");
    moe_checkpoint_close(open_good());
}

/* snapshots/x/FILE -> ../../blobs/HASH, as the Hugging Face cache has it. */
Test(checkpoint, follows_links) {
    cr_assert(mkdir(files_path("blobs"), 0700) == 0 && mkdir(files_path("snap"), 0700) == 0);
    files_safetensors("blobs/1", ONE("a"), 1);
    files_text("blobs/2", "{\"weight_map\":{\"a\":\"s1\"}}");
    cr_assert(symlink("../blobs/1", files_path("snap/s1")) == 0 &&
              symlink("../blobs/2", files_path("snap/" INDEX)) == 0);
    struct moe_checkpoint *ck;
    moe_error err;
    cr_expect(moe_checkpoint_open(&ck, files_path("snap"), &err) == MOE_OK, "%s", err.message);
    moe_checkpoint_close(ck);
    cr_assert(unlink(files_path("blobs/1")) == 0);
    cr_expect(moe_checkpoint_open(&ck, files_path("snap"), &err) == MOE_E_IO);
    cr_expect(contains(err.message, "/s1: cannot be opened"), "%s", err.message);
    cr_assert(unlink(files_path("blobs/2")) == 0);
    cr_expect(moe_checkpoint_open(&ck, files_path("snap"), &err) == MOE_E_IO);
    cr_expect(contains(err.message, INDEX ": cannot be opened"), "%s", err.message);
}

Test(checkpoint, says_what_it_looked_for) {
    struct moe_checkpoint *ck;
    moe_error err;
    expect_refused(MOE_E_IO, ": neither model.safetensors nor " INDEX " is there");
    files_text("pytorch_model.bin.index.json", "x");
    expect_refused(MOE_E_IO, "is there; pytorch_model.bin is, which is not supported");
    files_text("pytorch_model.bin", "x");
    expect_refused(MOE_E_IO, "is there; pytorch_model.bin is, which is not supported");
    cr_expect(moe_checkpoint_open(&ck, files_path("none"), &err) == MOE_E_IO);
    cr_expect(contains(err.message, "none: no such directory"), "%s", err.message);
    cr_expect(moe_checkpoint_open(&ck, "none", &err) == MOE_E_IO); /* shorter than ".safetensors" */
    cr_expect_str_eq(err.message, "none: no such directory");
    cr_expect(moe_checkpoint_open(&ck, files_path("pytorch_model.bin"), &err) == MOE_E_IO);
    cr_expect(contains(err.message, "Not a directory"), "%s", err.message);
    cr_expect(moe_checkpoint_open(&ck, "", &err) == MOE_E_IO && contains(err.message, "empty"), "%s",
              err.message);
    cr_assert(mkdir(files_path("model.safetensors"), 0700) == 0);
    expect_refused(MOE_E_IO, "model.safetensors: is a directory");
}

Test(checkpoint, refuses_a_wrong_index) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", INDEX ": line 1, column 1: unexpected end"},
        {"[]", INDEX ": weight_map: expected an object"},
        {"{}", INDEX ": weight_map: expected an object"},
        {"{\"weight_map\":null}", "weight_map: expected an object"},
        {"{\"weight_map\":[\"a\"]}", "weight_map: expected an object"},
        {"{\"weight_map\":{}}", "weight_map: expected an object"},
        {"{\"weight_map\":{\"a\":1}}", "weight_map.a: expected a string, found 1"},
        {"{\"weight_map\":{\"a\":null}}", "weight_map.a: expected a string, found null"},
        {"{\"weight_map\":{\"a\":\"\"}}", "weight_map.a: \"\" is no name of a file"},
        {"{\"weight_map\":{\"a\":\".\"}}", "weight_map.a: \".\" is no name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "weight_map.a: \"..\" is no name"},
        {"{\"weight_map\":{\"a\":\"../x\"}}", "weight_map.a: \"../x\" is no name"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "weight_map.a: \"/etc/passwd\" is no name"},
        {"{\"weight_map\":{\"a\":\"d/x\"}}", "weight_map.a: \"d/x\" is no name"},
        {"{\"weight_map\":{\"a\":\"s1\",\"a\":\"s2\"}}", "weight_map.a: duplicate key"},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\"}}", "/s1: tensor both: also in s2"},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s3\"}}", "/s3: 2 bytes, too short"},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s4\"}}", "/s4: cannot be opened"},
        {"{\"weight_map\":{\"z\":\"s1\"}}", INDEX ": weight_map: tensor z is not in s1"},
        {"{\"weight_map\":{\"a\":\"s5\",\"c\":\"s1\"}}", "weight_map: tensor a is not in s5"},
    };
    files_safetensors(
        "s1",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"both\":{\"dtype\":\"U8\",\"shape\":"
        "[0],\"data_offsets\":[0,0]}}",
        0);
    files_safetensors(
        "s2",
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"both\":{\"dtype\":\"U8\",\"shape\":"
        "[0],\"data_offsets\":[0,0]}}",
        0);
    files_safetensors("s5", ONE("c"), 1);
    files_text("s3", "xy");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        files_text(INDEX, cases[i].text);
        expect_refused(contains(cases[i].message, "cannot be") ? MOE_E_IO : MOE_E_FORMAT, cases[i].message);
    }
    cr_assert(truncate(files_path(INDEX), 100000001) == 0);
    expect_refused(MOE_E_FORMAT, INDEX ": 100000001 bytes, expected at most 100000000");
}

Test(checkpoint, one_file) {
    struct moe_checkpoint *ck;
    moe_error err;
    char bytes[4] = {0};
    files_safetensors("x.safetensors",
                      "{\"__metadata__\":{\"b\":\"2\",\"c\":\"3\",\"a\":\"1\"},"
                      "\"t\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}",
                      9);
    cr_assert(moe_checkpoint_open(&ck, files_path("x.safetensors"), &err) == MOE_OK, "%s", err.message);
    cr_assert_eq(moe_checkpoint_count(ck), 1);
    const struct moe_tensor *t = moe_checkpoint_tensor(ck, 0);
    cr_expect(t == moe_checkpoint_find(ck, "t") &&
              !strcmp(moe_checkpoint_file(ck, t), files_path("x.safetensors")));
    cr_assert_eq(moe_checkpoint_read(ck, t, bytes, 4, 5, &err), MOE_OK, "%s", err.message);
    cr_expect(!memcmp(bytes, "\5\6\7\10", 4));
    cr_assert_eq(truncate(files_path("x.safetensors"), 20), 0);
    cr_expect_eq(moe_checkpoint_read(ck, t, bytes, 4, 5, &err), MOE_E_IO);
    cr_expect(contains(err.message, "became shorter"), "%s", err.message);
    moe_checkpoint_close(ck);
    struct moe_safetensors *st;
    files_safetensors("y.safetensors", "{\"__metadata__\":{\"b\":\"2\",\"c\":\"3\",\"a\":\"1\"}}", 0);
    cr_assert(moe_safetensors_open(&st, files_path("y.safetensors"), &err) == MOE_OK, "%s", err.message);
    cr_expect_str_eq(moe_safetensors_metadata(st, "a"), "1");
    cr_expect_str_eq(moe_safetensors_metadata(st, "b"), "2");
    cr_expect_str_eq(moe_safetensors_metadata(st, "c"), "3");
    cr_expect_null(moe_safetensors_metadata(st, "d"));
    moe_safetensors_close(st);
    cr_assert(mkdir(files_path("d.safetensors"), 0700) == 0);
    cr_expect_eq(moe_checkpoint_open(&ck, files_path("d.safetensors"), &err), MOE_E_IO);
    cr_expect(contains(err.message, "neither model.safetensors"), "%s", err.message);
    cr_expect_eq(moe_checkpoint_open(&ck, files_path("none.safetensors"), &err), MOE_E_IO);
}
