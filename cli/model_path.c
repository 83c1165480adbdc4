/* The Hugging Face cache as huggingface_hub lays it out: models--org--name/refs/main holds the commit, the
 * files of a commit are links in models--org--name/snapshots/<commit>. The first environment variable that is
 * set decides where the cache is; the others are not looked at, as there. */

#include "cli/model_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/common.h"

static char *format_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *format_path(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *path = need((size_t)(n < 0 ? 0 : n) + 1, 1);
    vsnprintf(path, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return path;
}

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- the Hugging Face cache --------------------------------------------------------------------------- */

/* "~/x" as a shell would read it: the variables may hold it unexpanded. */
static char *expand(const char *base, const char *rest) {
    const char *home = getenv("HOME");
    if (base[0] == '~' && (base[1] == '/' || base[1] == '\0') && home)
        return format_path("%s%s%s", home, base + 1, rest);
    return format_path("%s%s", base, rest);
}

/* The cache's directory, existing or not; NULL if not even HOME is set. */
static char *cache_directory(void) {
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i].variable);
        if (value && *value) return expand(value, places[i].below);
    }
    return NULL;
}

/* A repository's name on the Hub: name or org/name, of letters, digits, '-', '_' and '.'. */
static bool is_repository(const char *name) {
    size_t slashes = 0;
    for (const char *c = name; *c; c++) {
        bool is_plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                        *c == '-' || *c == '_';
        bool is_inner = c != name && c[-1] != '/'; /* no part begins with a dot or is empty */
        if (*c == '/') slashes++;
        if (!is_plain && !((*c == '.' || *c == '/') && is_inner)) return false;
    }
    size_t n = strlen(name);
    return n > 0 && slashes <= 1 && name[n - 1] != '/';
}

/* The commit that refs/main names; NULL if there is no such file. */
static char *read_ref(const char *repository) {
    char *file = format_path("%s/refs/main", repository);
    char commit[128];
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, commit, sizeof commit);
    if (fd >= 0) close(fd);
    if (n < 0) {
        free(file);
        return NULL;
    }
    while (n > 0 && (commit[n - 1] == '\n' || commit[n - 1] == '\r' || commit[n - 1] == ' ')) n--;
    for (ssize_t i = 0; i < n; i++)
        if (!strchr("0123456789abcdefABCDEF", commit[i]) || commit[i] == '\0') n = 0;
    if (n == 0 || n == sizeof commit)
        die(STATUS_FAILED, "%s: expected the hexadecimal name of a commit", file);
    free(file);
    return format_path("%.*s", (int)n, commit);
}

static char *newest_snapshot(const char *repository) {
    char *directory = format_path("%s/snapshots", repository), *newest = NULL;
    struct timespec latest = {0};
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = format_path("%s/%s", directory, e->d_name);
        struct stat st;
        bool is_newer = e->d_name[0] != '.' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
                        (!newest || st.st_mtim.tv_sec > latest.tv_sec ||
                         (st.st_mtim.tv_sec == latest.tv_sec && st.st_mtim.tv_nsec > latest.tv_nsec));
        if (is_newer) {
            free(newest);
            newest = path;
            latest = st.st_mtim;
        } else {
            free(path);
        }
    }
    if (d) closedir(d);
    free(directory);
    return newest;
}

static char *find_in_cache(const char *model, const char *cache) {
    const char *slash = strchr(model, '/');
    char *repository = slash
                           ? format_path("%s/models--%.*s--%s", cache, (int)(slash - model), model, slash + 1)
                           : format_path("%s/models--%s", cache, model);
    char *commit = read_ref(repository);
    char *snapshot =
        commit ? format_path("%s/snapshots/%s", repository, commit) : newest_snapshot(repository);
    if (commit && !is_directory(snapshot))
        die(STATUS_FAILED, "%s: no such directory, but %s/refs/main names it: the download is incomplete",
            snapshot, repository);
    free(commit);
    free(repository);
    return snapshot;
}

/* ---- the shipped checkpoint --------------------------------------------------------------------------- */

static bool has_config(const char *directory) {
    char *file = format_path("%s/config.json", directory);
    bool found = access(file, R_OK) == 0;
    free(file);
    return found;
}

/* Beside the program as it was installed (wherever that was moved), in the source tree that it was built in,
 * or where it was to be installed. */
static char *shipped_model(void) {
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) *slash = '\0';
    char *places[] = {slash ? format_path("%s/../share/moe/storyteller", program) : NULL,
                      format_path("%s", MOE_SOURCE_DIR "/models/storyteller"),
                      format_path("%s", MOE_DATA_DIR "/storyteller")};
    char *found = NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!found && places[i] && has_config(places[i])) {
            found = places[i];
        } else {
            free(places[i]);
        }
    }
    if (!found)
        die(STATUS_FAILED, "no MODEL given, and the checkpoint that ships with this program is not in %s",
            MOE_DATA_DIR "/storyteller");
    return found;
}

char *model_path(const char *model) {
    if (!model) return shipped_model();
    /* a path that is no directory is for the library to refuse */
    if (access(model, F_OK) == 0) return format_path("%s", model);
    int reason = errno;
    char *cache = is_repository(model) ? cache_directory() : NULL;
    char *found = cache ? find_in_cache(model, cache) : NULL;
    if (!found && cache)
        die(STATUS_FAILED, "%s: no such directory, and not in the Hugging Face cache %s", model, cache);
    if (!found) die(STATUS_FAILED, "%s: %s", model, strerror(reason));
    free(cache);
    return found;
}

char *model_directory(const char *path) {
    struct stat st;
    const char *slash = strrchr(path, '/');
    bool is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (!is_file) return format_path("%s", path);
    if (!slash) return format_path(".");
    return format_path("%.*s", slash == path ? 1 : (int)(slash - path), path);
}
