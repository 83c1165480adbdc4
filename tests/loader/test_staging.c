/* Files that appear whole or not at all. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/file.h"
#include "loader/staging.h"
#include "tests/loader/files.h"

TestSuite(staging, .init = files_begin, .fini = files_end);

static moe_error err;

static bool is_there(const char *name) {
    struct stat st;
    return lstat(files_path(name), &st) == 0;
}

static size_t count_entries(const char *name) {
    DIR *d = opendir(files_path(name));
    size_t n = 0;
    cr_assert(d);
    for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static void expect_text(const char *name, const char *text) {
    char found[64] = "";
    FILE *f = fopen(files_path(name), "rb");
    cr_assert(f, "%s", name);
    cr_expect_eq(fread(found, 1, sizeof found - 1, f), strlen(text));
    cr_expect_str_eq(found, text);
    fclose(f);
}

static struct moe_staging *begin(const char *name) {
    struct moe_staging *s;
    int fd;
    cr_assert_eq(moe_staging_open(&s, files_path(name), &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_staging_create(&fd, s, "a", &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_file_write(fd, "llo", 3, 2, "a", &err), MOE_OK);
    cr_assert_eq(moe_file_write(fd, "he", 2, 0, "a", &err), MOE_OK);
    close(fd);
    return s;
}

Test(staging, directory) {
    files_text("source", "text");
    struct moe_staging *s = begin("out/");
    cr_assert_eq(moe_staging_copy(s, "b", files_path("source"), &err), MOE_OK, "%s", err.message);
    cr_expect_not(is_there("out"));
    cr_assert_eq(moe_staging_publish_directory(s, false, &err), MOE_OK, "%s", err.message);
    moe_staging_close(s);
    expect_text("out/a", "hello");
    expect_text("out/b", "text");
    cr_expect_eq(count_entries(""), 2);
}

Test(staging, directory_replaced) {
    moe_staging_close(begin("out")); /* leaves nothing */
    cr_expect_eq(count_entries(""), 0);
    mkdir(files_path("out"), 0700);
    files_text("out/old", "x");
    struct moe_staging *s = begin("out");
    cr_expect_eq(moe_staging_publish_directory(s, false, &err), MOE_E_IO);
    cr_expect(contains(err.message, "out: is there already"), "%s", err.message);
    cr_expect(is_there("out/old"));
    cr_assert_eq(moe_staging_publish_directory(s, true, &err), MOE_OK, "%s", err.message);
    moe_staging_close(s);
    cr_expect(is_there("out/a") && !is_there("out/old"));
    cr_expect_eq(count_entries(""), 1);
    files_text("file", "x");
    s = begin("file");
    cr_expect_eq(moe_staging_publish_directory(s, true, &err), MOE_E_IO);
    moe_staging_close(s);
    expect_text("file", "x");
}

Test(staging, file) {
    files_text("source", "text");
    struct moe_staging *s = begin("out");
    cr_assert_eq(moe_staging_copy(s, "b", files_path("source"), &err), MOE_OK);
    cr_expect_not(moe_staging_has_beside(s, "b"));
    cr_assert_eq(moe_staging_move_beside(s, "b", &err), MOE_OK, "%s", err.message);
    cr_expect(moe_staging_has_beside(s, "b"));
    cr_assert_eq(moe_staging_publish_file(s, "a", false, &err), MOE_OK, "%s", err.message);
    moe_staging_close(s);
    expect_text("out", "hello");
    expect_text("b", "text");
    cr_expect_eq(count_entries(""), 3);
    s = begin("out");
    cr_expect_eq(moe_staging_publish_file(s, "a", false, &err), MOE_E_IO);
    cr_assert_eq(moe_staging_publish_file(s, "a", true, &err), MOE_OK, "%s", err.message);
    moe_staging_close(s);
}

/* What was put beside a place that is not taken goes again. */
Test(staging, file_given_up) {
    mkdir(files_path("out"), 0700);
    struct moe_staging *s = begin("out");
    cr_assert_eq(moe_staging_move_beside(s, "a", &err), MOE_OK, "%s", err.message);
    cr_expect(is_there("a"));
    cr_expect_eq(moe_staging_publish_file(s, "a", true, &err), MOE_E_IO); /* a directory is no file */
    moe_staging_close(s);
    cr_expect_not(is_there("a"));
    cr_expect_eq(count_entries(""), 1);
}

Test(staging, refused) {
    struct moe_staging *s;
    int fd;
    cr_expect_eq(moe_staging_open(&s, files_path("none/out"), &err), MOE_E_IO);
    cr_expect(!s && contains(err.message, "none/out: cannot be created"), "%s", err.message);
    s = begin("out");
    cr_expect_eq(moe_staging_create(&fd, s, "a", &err), MOE_E_IO);
    cr_expect_eq(moe_staging_copy(s, "a", files_path("none"), &err), MOE_E_IO);
    cr_expect_eq(moe_staging_move_beside(s, "none", &err), MOE_E_IO);
    cr_expect_eq(moe_staging_publish_file(s, "none", false, &err), MOE_E_IO);
    char name[8] = "f0";
    for (int i = 0; i < 9; i++, name[1]++) {
        cr_assert_eq(moe_staging_create(&fd, s, name, &err), MOE_OK);
        close(fd);
        cr_expect_eq(moe_staging_move_beside(s, name, &err), i < 8 ? MOE_OK : MOE_E_ARGUMENT);
    }
    moe_staging_close(s);
    moe_staging_close(NULL);
    cr_expect_eq(count_entries(""), 0);
}

/* Without a slash, below the root, with slashes at the end; names that other processes took before. */
Test(staging, places) {
    struct moe_staging *s;
    char name[64], *dir;
    cr_assert_eq(chdir(files_path("")), 0);
    snprintf(name, sizeof name, ".moe-pack-%ld-0", (long)getpid());
    mkdir(name, 0700);
    cr_assert_eq(moe_staging_open(&s, "out//", &err), MOE_OK, "%s", err.message);
    cr_assert_eq(moe_staging_publish_directory(s, false, &err), MOE_OK, "%s", err.message);
    moe_staging_close(s);
    cr_expect(is_there("out") && is_there(name));
    cr_assert_eq(moe_staging_open(&s, "o", &err), MOE_OK, "%s", err.message); /* the shortest there is */
    moe_staging_close(s);
    if (moe_staging_open(&s, "/moe-test-out", &err) == MOE_OK) moe_staging_close(s); /* root may */
    const char *const paths[][2] = {
        {"out", "out"}, {"f", "."}, {"./f", "."}, {"none", "none"}, {"/proc/stat", "/proc"}};
    files_text("f", "x");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cr_assert_eq(moe_file_directory(&dir, paths[i][0], &err), MOE_OK);
        cr_expect_str_eq(dir, paths[i][1]);
        free(dir);
    }
}

/* A directory in which all temporary names are taken, as no processes leave it. */
Test(staging, gives_up_looking_for_a_name) {
    enum { TRIES = 101 };
    struct moe_staging *s;
    char name[64];
    for (int i = 0; i < TRIES; i++) {
        snprintf(name, sizeof name, ".moe-pack-%ld-%d", (long)getpid(), i);
        cr_assert_eq(mkdir(files_path(name), 0700), 0);
    }
    cr_expect_eq(moe_staging_open(&s, files_path("out"), &err), MOE_E_IO);
    cr_expect(!s && contains(err.message, "out: cannot be created: File exists"), "%s", err.message);
    cr_expect_eq(count_entries(""), TRIES);
}
