/* One growing tensor, written as a safetensors file. The header's room is left empty (all zero, which no
 * reader takes for safetensors) until the number of rows is known. */
#include "engine/moe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/utf8.h"
#include "loader/file.h"
#include "loader/json.h"

enum { LENGTH_BYTES = 8, NUMBER_DIGITS = 20, HEADER_ALIGN = 64 };

struct moe_tensor_writer {
    int fd;
    bool failed;       /* a write failed: the file stays without a header */
    char *file, *name; /* `name` as JSON has it */
    size_t n_columns, n_rows;
    size_t data_offset; /* a multiple of HEADER_ALIGN */
};

static moe_status check_arguments(const char *file, const char *name, size_t n_columns, moe_error *err) {
    if (n_columns == 0 || n_columns > (size_t)MOE_JSON_MAX_INT / sizeof(float))
        return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: %zu columns, expected at least 1", file, n_columns);
    size_t n = strlen(name), length;
    for (size_t i = 0; i < n; i += length)
        if ((length = moe_utf8_decode(NULL, name + i, n - i)) == 0)
            return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: tensor name %.200s: invalid UTF-8", file, name);
    if (n == 0 || strcmp(name, "__metadata__") == 0)
        return MOE_FAIL(err, MOE_E_ARGUMENT, "%s: a tensor cannot be named \"%s\"", file, name);
    return MOE_OK;
}

static moe_status write_bytes(moe_tensor_writer *w, const void *bytes, size_t n, moe_error *err) {
    for (size_t done = 0; done < n;) {
        ssize_t put = write(w->fd, (const char *)bytes + done, n - done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            w->failed = true;
            return MOE_FAIL(err, MOE_E_IO, "%s: cannot be written: %s", w->file, strerror(errno));
        }
        done += (size_t)put;
    }
    return MOE_OK;
}

/* The header with its length before it, padded to w->data_offset bytes. */
static void format_header(const moe_tensor_writer *w, char *header) {
    uint64_t n = w->data_offset - LENGTH_BYTES;
    size_t used = (size_t)sprintf(header + LENGTH_BYTES,
                                  "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],\"data_offsets\":[0,%zu]}}",
                                  w->name, w->n_rows, w->n_columns, w->n_rows * w->n_columns * sizeof(float));
    memcpy(header, &n, LENGTH_BYTES);
    memset(header + LENGTH_BYTES + used, ' ', (size_t)n - used);
}

/* At the start of the file: `complete`, or as a placeholder that fills its room. */
static moe_status write_header(moe_tensor_writer *w, bool complete, moe_error *err) {
    char *header = calloc(w->data_offset, 1);
    if (!header) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory for its header", w->file);
    if (complete) format_header(w, header);
    moe_status status = MOE_OK;
    if (lseek(w->fd, 0, SEEK_SET) < 0)
        status = MOE_FAIL(err, MOE_E_IO, "%s: cannot be rewound: %s", w->file, strerror(errno));
    else
        status = write_bytes(w, header, w->data_offset, err);
    free(header);
    return status;
}

/* O_NONBLOCK: a FIFO that nobody reads is an error at once. It would be refused anyway: no way back. */
static moe_status create(moe_tensor_writer *w, moe_error *err) {
    do w->fd = open(w->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    while (w->fd < 0 && errno == EINTR);
    if (w->fd < 0) return MOE_FAIL(err, MOE_E_IO, "%s: cannot be created: %s", w->file, strerror(errno));
    return write_header(w, false, err);
}

static void release(moe_tensor_writer *w) {
    free(w->name);
    free(w->file);
    free(w);
}

moe_status moe_tensor_writer_open(moe_tensor_writer **out, const char *file, const char *name,
                                  size_t n_columns, moe_error *err) {
    *out = NULL;
    MOE_TRY(check_arguments(file, name, n_columns, err));
    moe_tensor_writer *w = calloc(1, sizeof *w);
    if (!w) return MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", file);
    w->fd = -1;
    w->n_columns = n_columns;
    moe_status status = moe_text_join(&w->file, file, "", "", err);
    if (status == MOE_OK && !(w->name = malloc(6 * strlen(name) + 1)))
        status = MOE_FAIL(err, MOE_E_MEMORY, "%s: out of memory", file);
    if (status == MOE_OK) {
        moe_json_escape(w->name, name);
        size_t most = LENGTH_BYTES + strlen(w->name) + 64 + 3 * NUMBER_DIGITS;
        w->data_offset = (most + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
        status = create(w, err);
    }
    if (status == MOE_OK) {
        *out = w;
        return MOE_OK;
    }
    if (w->fd >= 0) close(w->fd);
    release(w);
    return status;
}

moe_status moe_tensor_writer_append(moe_tensor_writer *writer, const float *row, moe_error *err) {
    if (writer->failed)
        return MOE_FAIL(err, MOE_E_IO, "%s: incomplete: an earlier write failed", writer->file);
    MOE_TRY(write_bytes(writer, row, writer->n_columns * sizeof *row, err));
    writer->n_rows++; /* its products cannot overflow: that many bytes were written */
    return MOE_OK;
}

moe_status moe_tensor_writer_close(moe_tensor_writer *writer, moe_error *err) {
    if (!writer) return MOE_OK;
    moe_status status = MOE_OK;
    if (writer->failed)
        status = MOE_FAIL(err, MOE_E_IO, "%s: incomplete: an earlier write failed", writer->file);
    else
        status = write_header(writer, true, err);
    if (close(writer->fd) != 0 && status == MOE_OK)
        status = MOE_FAIL(err, MOE_E_IO, "%s: cannot be completed: %s", writer->file, strerror(errno));
    release(writer);
    return status;
}
