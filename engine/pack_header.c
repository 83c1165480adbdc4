#include "engine/pack_header.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pack_work.h"
#include "loader/json.h"
#include "models/packed_tensor.h"

enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100000000 };

static moe_status fail_memory(const char *file, moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for its header", file);
}

static void print_name(FILE *f, char *escaped, const struct moe_pack_output *o, const char *prefix) {
    moe_json_escape(escaped, o->source->name);
    fprintf(f, ",\"%s%s%s\":", prefix, escaped, o->suffix);
}

static void print_tensor(FILE *f, char *escaped, const struct moe_pack_output *o) {
    print_name(f, escaped, o, "");
    fprintf(f, "{\"dtype\":\"%s\",\"shape\":[", moe_dtype_name(o->dtype));
    for (size_t i = 0; i < o->rank; i++) fprintf(f, "%s%zu", i ? "," : "", o->shape[i]);
    fprintf(f, "],\"data_offsets\":[%zu,%zu]}", o->begin, o->begin + o->n_bytes);
}

/* The JSON text. */
static moe_status print(char **out, size_t *n_out, const char *file, const struct moe_pack_output *outputs,
                        size_t n, moe_error *err) {
    size_t longest = 0;
    for (size_t i = 0; i < n; i++)
        if (strlen(outputs[i].source->name) > longest) longest = strlen(outputs[i].source->name);
    *out = NULL;
    char *escaped = malloc(6 * longest + 1);
    FILE *f = escaped ? open_memstream(out, n_out) : NULL;
    bool failed = !f;
    if (f) {
        fprintf(f, "{\"__metadata__\":{\"" MOE_PACK_VERSION_KEY "\":\"" MOE_PACK_VERSION "\"");
        for (size_t i = 0; i < n; i++) {
            print_name(f, escaped, &outputs[i], MOE_PACK_HASH_PREFIX);
            fprintf(f, "\"%016" PRIx64 "\"", outputs[i].hash);
        }
        fputc('}', f);
        for (size_t i = 0; i < n; i++) print_tensor(f, escaped, &outputs[i]);
        fputc('}', f);
        failed = ferror(f) != 0;
        failed |= fclose(f) != 0;
    }
    free(escaped);
    if (!failed) return MOE_OK;
    free(*out);
    *out = NULL;
    return fail_memory(file, err);
}

moe_status moe_pack_header_measure(size_t *room, const char *file, const struct moe_pack_output *outputs,
                                   size_t n, moe_error *err) {
    const size_t largest = (size_t)MOE_JSON_MAX_INT / 2; /* as many digits as any number may have */
    struct moe_pack_output *widest = calloc(n, sizeof *widest);
    char *text;
    if (!widest) return fail_memory(file, err);
    for (size_t i = 0; i < n; i++) {
        widest[i] = outputs[i];
        widest[i].begin = largest;
        widest[i].n_bytes = 0;
        if (!strcmp(outputs[i].suffix, MOE_ESCAPES_SUFFIX)) widest[i].shape[0] = largest;
    }
    moe_status status = print(&text, room, file, widest, n, err);
    free(widest);
    MOE_TRY(status);
    free(text);
    *room = (LENGTH_BYTES + *room + MOE_PACKED_ALIGN - 1) / MOE_PACKED_ALIGN * MOE_PACKED_ALIGN;
    if (*room - LENGTH_BYTES <= MAX_HEADER_BYTES) return MOE_OK;
    return MOE_FAIL(err, MOE_E_UNSUPPORTED,
                    "%s: a header of %zu bytes, expected at most %d: too many tensors", file,
                    *room - LENGTH_BYTES, MAX_HEADER_BYTES);
}

moe_status moe_pack_header_format(char **out, size_t room, const char *file,
                                  const struct moe_pack_output *outputs, size_t n, moe_error *err) {
    char *text;
    size_t n_text;
    uint64_t length = room - LENGTH_BYTES;
    *out = NULL;
    MOE_TRY(print(&text, &n_text, file, outputs, n, err));
    char *header = malloc(room);
    if (header) {
        memcpy(header, &length, LENGTH_BYTES);
        memcpy(header + LENGTH_BYTES, text, n_text);
        memset(header + LENGTH_BYTES + n_text, ' ', (size_t)length - n_text);
    }
    free(text);
    *out = header;
    return header ? MOE_OK : fail_memory(file, err);
}
