#include "tests/loader/files.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];

void files_begin(void) {
    snprintf(directory, sizeof directory, "/tmp/moe-test-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
}

static void remove_all(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        char inner[600];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0) remove_all(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

void files_end(void) {
    remove_all(directory);
}

const char *files_path(const char *name) {
    static char paths[8][400];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s%s%s", directory, *name ? "/" : "", name);
    return path;
}

void files_write(const char *name, const void *bytes, size_t n) {
    FILE *f = fopen(files_path(name), "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "%s", files_path(name));
}

void files_text(const char *name, const char *text) {
    files_write(name, text, strlen(text));
}

void files_safetensors(const char *name, const char *header, size_t n_data) {
    uint64_t n = strlen(header);
    unsigned char *bytes = malloc(8 + n + n_data + 1);
    cr_assert(bytes != NULL);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n + 1);
    for (size_t i = 0; i < n_data; i++) bytes[8 + n + i] = (unsigned char)i;
    files_write(name, bytes, 8 + n + n_data);
    free(bytes);
}

bool contains(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}
