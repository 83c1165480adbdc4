#include "bench/shape.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common.h"

enum { CONFIG_LIMIT = 16 << 20 };

/* Lists with one item per layer lose the items of those that go; lists of layers' numbers those numbers. */
static void cut_lists(cJSON *config, size_t n_before, size_t n_layers) {
    cJSON *item;
    cJSON_ArrayForEach(item, config) {
        if (!cJSON_IsArray(item)) continue;
        bool is_per_layer = (size_t)cJSON_GetArraySize(item) == n_before;
        bool has_numbers = item->string && !strcmp(item->string, "mlp_only_layers");
        for (int i = cJSON_GetArraySize(item) - 1; i >= 0; i--) {
            double number = cJSON_GetNumberValue(cJSON_GetArrayItem(item, i));
            if (has_numbers ? number >= (double)n_layers : is_per_layer && (size_t)i >= n_layers)
                cJSON_DeleteItemFromArray(item, i);
        }
    }
}

/* A file without a name, so that nothing is left behind however the program ends. */
static char *write_nameless(const char *data, size_t n) {
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/moe-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = length < (int)sizeof path ? mkstemp(path) : -1;
    if (fd < 0) die(STATUS_FAILED, "%s: %s", path, strerror(errno));
    unlink(path);
    if (write(fd, data, n) != (ssize_t)n) die(STATUS_FAILED, "%s: cannot write the cut config.json", path);
    char *name = need(64, 1);
    snprintf(name, 64, "/proc/self/fd/%d", fd);
    return name;
}

char *shape_cut(const char *file, size_t n_layers) {
    struct text source = {0};
    read_file(&source, file, CONFIG_LIMIT);
    cJSON *config = cJSON_Parse(source.data);
    cJSON *text_config = cJSON_GetObjectItemCaseSensitive(config, "text_config");
    cJSON *body = cJSON_IsObject(text_config) ? text_config : config;
    cJSON *count = cJSON_GetObjectItemCaseSensitive(body, "num_hidden_layers");
    if (!cJSON_IsNumber(count)) die(STATUS_FAILED, "%s: num_hidden_layers: expected an integer", file);
    if ((double)n_layers > count->valuedouble)
        die(STATUS_USAGE, "--layers %zu: %s has %g", n_layers, file, count->valuedouble);
    cut_lists(body, (size_t)count->valuedouble, n_layers);
    cJSON_SetNumberValue(count, (double)n_layers);
    char *text = cJSON_PrintUnformatted(config);
    if (!text) die(STATUS_FAILED, "out of memory");
    char *path = write_nameless(text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(config);
    free(source.data);
    return path;
}
