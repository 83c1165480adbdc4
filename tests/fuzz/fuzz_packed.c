/* A checkpoint as moe-pack writes it, of which nothing need be true: its checksums, and a model that is
 * opened from it and run. The input: which of two configurations (1 byte), then model.safetensors. */
#include <stdlib.h>
#include <string.h>

#include "base/packed.h"
#include "engine/moe.h"
#include "engine/model.h"
#include "models/packed_tensor.h"
#include "models/storage.h"
#include "tests/fuzz/fuzz.h"

/* Matrices of one block in a row, and of two (the experts' down_proj). */
static const char *const paths[] = {MOE_SOURCE_DIR "/tests/fuzz/packed_narrow.json",
                                    MOE_SOURCE_DIR "/tests/fuzz/packed_wide.json"};

enum { N_ROWS = 3 };

/* Every weight of a packed matrix, as the kernels' definition reads it. */
static void unpack(void *context, struct moe_matrix *w) {
    uint16_t weights[MOE_PACKED_WEIGHTS];
    (void)context;
    if (w->format != MOE_FORMAT_PACKED) return;
    for (size_t r = 0; r < w->rows; r++)
        for (size_t c = 0; c < w->cols; c += MOE_PACKED_WEIGHTS) {
            size_t n = w->cols - c < MOE_PACKED_WEIGHTS ? w->cols - c : MOE_PACKED_WEIGHTS;
            moe_packed_unpack(weights, w, r, c, n);
        }
}

static void run(const moe_model *model) {
    const moe_session_options options = {.context = 2 * N_ROWS, .max_rows = N_ROWS, .n_threads = 1};
    const moe_row rows[N_ROWS] = {
        {.token = 0}, {.token = 1, .position = 1}, {.token = 3, .position = 2, .logits = true}};
    moe_session *session = (void *)&session;
    moe_error err = fuzz_error();
    moe_status status = moe_session_open(&session, model, &options, &err);
    FUZZ_CHECK(fuzz_opened(status, session, &err));
    FUZZ_CHECK(fuzz_succeeded(moe_session_eval(session, rows, N_ROWS, &err), &err));
    FUZZ_CHECK(moe_session_logits(session, 0) != NULL); /* any numbers: they are what the file says */
    moe_session_close(session);
}

/* One configuration or the other beside the file. */
static void set_config(bool wide) {
    static struct fuzz_file config;
    static bool is_wide;
    size_t n;
    if (*config.path && is_wide == wide) return;
    if (!*config.path) fuzz_file_create(&config, "config.json");
    char *text = fuzz_read(&n, paths[wide]);
    fuzz_file_set(&config, text, n);
    free(text);
    is_wide = wide;
}

static void check_sums(const char *path, size_t n) {
    const moe_pack_options options = {.n_threads = 1};
    moe_pack_report report;
    moe_error err = fuzz_error();
    if (!fuzz_succeeded(moe_pack_verify(&report, path, &options, &err), &err)) return;
    FUZZ_CHECK(report.file_bytes == n && report.packed_bytes + report.copied_bytes <= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct fuzz_file file;
    struct fuzz_bytes rest = {data, n};
    moe_model *model = (void *)&model;
    moe_error err = fuzz_error();
    uint8_t kind;
    if (!*file.path) fuzz_file_create(&file, "model.safetensors");
    fuzz_take(&kind, 1, &rest);
    set_config(kind & 1);
    fuzz_file_set(&file, rest.data, rest.n);
    check_sums(file.path, rest.n);
    moe_status status = moe_model_open(&model, fuzz_folder(), NULL, &err);
    if (fuzz_opened(status, model, &err)) {
        moe_weights_visit(&model->weights, &model->spec, unpack, NULL);
        run(model);
    }
    moe_model_close(model);
    return 0;
}
