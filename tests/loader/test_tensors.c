/* The public tensor files: what is written is read back, and a failed write is told. */
#include "engine/moe.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/loader/files.h"

TestSuite(tensors, .init = files_begin, .fini = files_end);

static void write_rows(const char *file, const char *name, size_t n_rows, size_t n_columns) {
    moe_tensor_writer *w;
    moe_error err;
    cr_assert(moe_tensor_writer_open(&w, file, name, n_columns, &err) == MOE_OK, "%s", err.message);
    for (size_t r = 0; r < n_rows; r++) {
        float row[1000];
        for (size_t c = 0; c < n_columns; c++) row[c] = (float)(r * 1000 + c);
        cr_assert(moe_tensor_writer_append(w, row, &err) == MOE_OK, "%s", err.message);
    }
    cr_assert(moe_tensor_writer_close(w, &err) == MOE_OK, "%s", err.message);
}

Test(tensors, reads_back_what_was_written) {
    static const char *const names[] = {"logits", "a \"quoted\" \\ name\n", "\xf0\x9f\x98\x80", "x"};
    static const size_t rows[] = {0, 1, 7, 1001}, columns[] = {1, 3, 1000};
    for (size_t n = 0; n < 4; n++)
        for (size_t r = 0; r < 4; r++)
            for (size_t c = 0; c < 3; c++) {
                moe_tensors *t;
                moe_error err;
                moe_tensor_view view;
                write_rows(files_path("w"), names[n], rows[r], columns[c]);
                cr_assert(moe_tensors_open(&t, files_path("w"), &err) == MOE_OK, "%s", err.message);
                cr_assert(moe_tensors_count(t) == 1 && moe_tensors_find(&view, t, names[n]));
                cr_expect(strcmp(view.name, names[n]) == 0 && strcmp(view.dtype, "F32") == 0);
                cr_expect(view.rank == 2 && view.shape[0] == rows[r] && view.shape[1] == columns[c]);
                cr_assert(view.n_bytes == rows[r] * columns[c] * 4);
                for (size_t i = 0; i < view.n_bytes / 4; i++) {
                    float f;
                    memcpy(&f, (const char *)view.data + 4 * i, 4);
                    size_t value = i / columns[c] * 1000 + i % columns[c];
                    cr_assert(f == (float)value);
                }
                cr_expect(moe_tensors_get(t, 0).data == view.data && !moe_tensors_find(&view, t, "none"));
                moe_tensors_close(t);
            }
}

Test(tensors, overwrites_what_was_there) {
    files_text("w", "this is a longer text than the file that replaces it will have, by far, is it not?");
    write_rows(files_path("w"), "x", 1, 1);
    moe_tensors *t;
    moe_error err;
    cr_assert(moe_tensors_open(&t, files_path("w"), &err) == MOE_OK, "%s", err.message);
    moe_tensors_close(t);
    moe_tensors_close(NULL);
    cr_expect(moe_tensor_writer_close(NULL, &err) == MOE_OK);
}

Test(tensors, an_unfinished_file_is_no_safetensors_file) {
    moe_tensor_writer *w;
    moe_tensors *t;
    moe_error err;
    float row[2] = {1, 2};
    cr_assert(moe_tensor_writer_open(&w, files_path("w"), "x", 2, &err) == MOE_OK);
    cr_assert(moe_tensor_writer_append(w, row, &err) == MOE_OK);
    cr_expect(moe_tensors_open(&t, files_path("w"), &err) == MOE_E_FORMAT && t == NULL);
    cr_assert(moe_tensor_writer_close(w, &err) == MOE_OK);
}

Test(tensors, refuses_arguments_that_make_no_file) {
    static const char *const names[] = {"", "__metadata__", "\xff", "a\xc3"};
    moe_tensor_writer *w;
    moe_error err;
    for (size_t i = 0; i < 4; i++)
        cr_expect(moe_tensor_writer_open(&w, files_path("w"), names[i], 1, &err) == MOE_E_ARGUMENT &&
                  w == NULL);
    cr_expect(moe_tensor_writer_open(&w, files_path("w"), "x", 0, &err) == MOE_E_ARGUMENT);
    cr_expect(moe_tensor_writer_open(&w, files_path("w"), "x", SIZE_MAX, &err) == MOE_E_ARGUMENT);
    cr_expect(access(files_path("w"), F_OK) != 0);
}

Test(tensors, refuses_places_that_take_no_file) {
    moe_tensor_writer *w;
    moe_error err;
    cr_expect(moe_tensor_writer_open(&w, files_path("no/w"), "x", 1, &err) == MOE_E_IO && w == NULL);
    cr_expect(contains(err.message, "no/w: cannot be created"), "%s", err.message);
    cr_expect(moe_tensor_writer_open(&w, files_path(""), "x", 1, &err) == MOE_E_IO);
    cr_expect(moe_tensor_writer_open(&w, "/dev/full", "x", 1, &err) == MOE_E_IO && w == NULL);
    cr_expect(contains(err.message, "/dev/full: cannot be written: No space left"), "%s", err.message);
    cr_assert(mkfifo(files_path("fifo"), 0600) == 0);
    cr_expect(moe_tensor_writer_open(&w, files_path("fifo"), "x", 1, &err) == MOE_E_IO); /* nobody reads */
    int reader = open(files_path("fifo"), O_RDONLY | O_NONBLOCK);
    cr_expect(moe_tensor_writer_open(&w, files_path("fifo"), "x", 1, &err) == MOE_E_IO && w == NULL);
    cr_expect(contains(err.message, "cannot be rewound"), "%s", err.message);
    close(reader);
}
