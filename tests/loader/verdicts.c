/* Reads paths from standard input, one a line, and prints this loader's verdict on each, one line of JSON,
 * for tests/loader/differential.py: {"ok": true, "tensors": {name: [dtype, [shape], first byte, bytes]}} or
 * {"ok": false}. With the argument "json" the files are JSON documents and "tensors" is absent. */
#include <stdio.h>
#include <string.h>

#include "loader/json.h"
#include "loader/safetensors.h"

static void print_string(const char *s) {
    putchar('"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c == '"' || c == '\\')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_tensor(const struct moe_safetensors *st, size_t i) {
    const struct moe_tensor *t = moe_safetensors_tensor(st, i);
    const char *begin = moe_safetensors_tensor(st, 0)->data;
    print_string(t->name);
    printf(":[\"%s\",[", moe_dtype_name(t->dtype));
    for (size_t d = 0; d < t->rank; d++) printf("%s%zu", d ? "," : "", t->shape[d]);
    printf("],%td,%zu]", (const char *)t->data - begin, t->n_bytes);
}

static bool judge_safetensors(const char *file, moe_error *err) {
    struct moe_safetensors *st;
    if (moe_safetensors_open(&st, file, err) != MOE_OK) return false;
    printf("{\"ok\":true,\"tensors\":{");
    for (size_t i = 0; i < moe_safetensors_count(st); i++) {
        if (i) putchar(',');
        print_tensor(st, i);
    }
    printf("}}\n");
    moe_safetensors_close(st);
    return true;
}

static bool judge_json(const char *file, moe_error *err) {
    struct moe_json doc;
    if (moe_json_open(&doc, file, 1000000, err) != MOE_OK) return false;
    printf("{\"ok\":true}\n");
    moe_json_close(&doc);
    return true;
}

int main(int argc, char **argv) {
    bool json = argc > 1 && strcmp(argv[1], "json") == 0;
    char file[4096];
    while (fgets(file, sizeof file, stdin)) {
        file[strcspn(file, "\n")] = '\0';
        moe_error err;
        if (json ? judge_json(file, &err) : judge_safetensors(file, &err)) continue;
        printf("{\"ok\":false,\"error\":");
        print_string(err.message);
        printf("}\n");
    }
    return 0;
}
