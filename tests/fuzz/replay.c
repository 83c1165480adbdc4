/* Runs files, and the files of directories, through a target once: what libFuzzer found stays found, in every
 * build, without libFuzzer. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static size_t n_files;

static void replay_file(const char *path) {
    size_t n;
    char *bytes = fuzz_read(&n, path);
    fprintf(stderr, "%s\n", path); /* the last one is the one that crashed */
    LLVMFuzzerTestOneInput((const uint8_t *)bytes, n);
    free(bytes);
    n_files++;
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static void replay(const char *path) {
    struct stat st;
    struct dirent **entries;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        replay_file(path);
        return;
    }
    int n = scandir(path, &entries, is_visible, alphasort);
    if (n < 0) perror(path);
    FUZZ_CHECK(n >= 0);
    for (int i = 0; i < n; i++) {
        char inner[4096];
        int length = snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        FUZZ_CHECK(length > 0 && (size_t)length < sizeof inner);
        replay(inner);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE|DIRECTORY...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%zu inputs\n", n_files);
    return n_files > 0 ? 0 : 1;
}
