/* moe-pack: a checkpoint whose BF16 weights take 12 bits, without loss. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "moe.h"

const char program_name[] = "moe-pack";

enum pack_mode { MODE_PACK, MODE_COMPARE, MODE_VERIFY };

struct pack_options {
    enum pack_mode mode;
    const char *model, *packed; /* model: not to verify */
    size_t n_threads;
    bool force, quiet;
};

enum { OPT_COMPARE = 256, OPT_VERIFY, OPT_FORCE, OPT_QUIET, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"compare", no_argument, NULL, OPT_COMPARE}, {"verify", no_argument, NULL, OPT_VERIFY},
    {"force", no_argument, NULL, OPT_FORCE},     {"threads", required_argument, NULL, 't'},
    {"quiet", no_argument, NULL, OPT_QUIET},     {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION}, {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: moe-pack MODEL OUT [--force]\n"
    "       moe-pack --compare MODEL PACKED\n"
    "       moe-pack --verify PACKED\n"
    "\n"
    "Writes the checkpoint MODEL anew with its BF16 matrices packed into 12 bits a weight. Nothing is lost:\n"
    "every weight is read back, unpacked and compared before OUT appears, and the engine computes the same\n"
    "bits from it, faster. OUT appears whole or not at all.\n"
    "\n"
    "MODEL is a directory, one safetensors file of it, or org/name in the Hugging Face cache. OUT becomes a\n"
    "directory with model.safetensors and the small files of MODEL; or, if it ends in .safetensors, that file,\n"
    "with config.json, generation_config.json and tokenizer.json beside it where there are none.\n"
    "\n"
    "      --compare        whether PACKED holds every tensor of MODEL, bit for bit\n"
    "      --verify         whether every tensor of PACKED has the checksum that was written with it\n"
    "      --force          replace OUT if it is there and is packed itself\n"
    "  -t, --threads N      threads (the physical cores that this process may use)\n"
    "      --quiet          nothing on standard error but errors\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n"
    "\n"
    "Exit status: 0 done, or equal and undamaged; 1 failure, or not; 2 wrong usage; 130 or 143 after SIGINT or\n"
    "SIGTERM, with nothing left behind.\n"
    "\n"
    "Example:\n"
    "  moe-pack Qwen/Qwen3-30B-A3B ./qwen3-packed\n"
    "  moe-run ./qwen3-packed -p 'The fox and the owl'\n";

static struct output out;

static void print_and_exit(bool is_help) {
    output_open(&out);
    if (is_help) output_write(&out, help, sizeof help - 1);
    if (!is_help) output_format(&out, "moe-pack %s\n", moe_version());
    output_close(&out);
    exit(STATUS_DONE);
}

static void set_mode(struct pack_options *o, enum pack_mode mode) {
    if (o->mode != MODE_PACK && o->mode != mode) die(STATUS_USAGE, "--verify contradicts --compare");
    o->mode = mode;
}

static void read_options(struct pack_options *o, int argc, char **argv) {
    *o = (struct pack_options){0};
    opterr = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":t:hV", long_options, NULL)) != -1) {
        switch (option) {
        case OPT_COMPARE:
            set_mode(o, MODE_COMPARE);
            break;
        case OPT_VERIFY:
            set_mode(o, MODE_VERIFY);
            break;
        case OPT_FORCE:
            o->force = true;
            break;
        case 't':
            o->n_threads = parse_integer("--threads", optarg, 1, 1024);
            break;
        case OPT_QUIET:
            o->quiet = true;
            break;
        case 'h':
        case OPT_HELP:
        case 'V':
        case OPT_VERSION:
            print_and_exit(option == 'h' || option == OPT_HELP);
            break;
        default:
            die_of_option(option, argv);
        }
    }
    static const char *const expected[] = {"MODEL and OUT", "MODEL and PACKED", "PACKED"};
    int n = o->mode == MODE_VERIFY ? 1 : 2;
    if (argc - optind != n) die(STATUS_USAGE, "expected %s (see --help)", expected[o->mode]);
    if (o->force && o->mode != MODE_PACK) die(STATUS_USAGE, "--force goes with packing alone");
    if (n == 2) o->model = argv[optind];
    o->packed = argv[argc - 1];
}

/* ---- the report --------------------------------------------------------------------------------------- */

static double mebibytes(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static void print_packed(const moe_pack_report *r) {
    output_format(&out, "packed     %zu tensor%s, %.1f MiB of BF16 in %.1f MiB (%.2f %%)\n", r->n_packed,
                  r->n_packed == 1 ? "" : "s", mebibytes(r->plain_bytes), mebibytes(r->packed_bytes),
                  100 * ratio(r->packed_bytes, r->plain_bytes));
    output_format(&out, "escapes    %llu of %llu blocks (%.3f %%)\n", (unsigned long long)r->n_escapes,
                  (unsigned long long)r->n_blocks, 100 * ratio(r->n_escapes, r->n_blocks));
    output_format(&out, "copied     %zu tensor%s, %.1f MiB\n", r->n_copied, r->n_copied == 1 ? "" : "s",
                  mebibytes(r->copied_bytes));
}

static void print_report(const struct pack_options *o, const moe_pack_report *r) {
    if (o->mode == MODE_VERIFY) {
        output_format(&out, "verified   %zu packed and %zu other tensors, %.1f MiB\nresult     undamaged\n",
                      r->n_packed, r->n_copied, mebibytes(r->file_bytes));
        return;
    }
    print_packed(r);
    if (o->mode == MODE_PACK) output_format(&out, "file       %.1f MiB\n", mebibytes(r->file_bytes));
    output_format(&out, "result     every weight equal\n");
}

/* ---- the work ----------------------------------------------------------------------------------------- */

static void show(void *context, const char *phase, size_t done, size_t total) {
    progress_show(context, phase, done, total);
}

static bool is_cancelled(void *context) {
    (void)context;
    return interrupted() != 0;
}

/* The library cleans up when it is told to stop, which takes it less than what signals wait for. */
static void finish(void *context) {
    (void)context;
}

static moe_status run(const struct pack_options *o, moe_pack_report *report, struct progress *progress,
                      moe_error *err) {
    const moe_pack_options options = {.replace = o->force,
                                      .n_threads = o->n_threads,
                                      .progress = show,
                                      .is_cancelled = is_cancelled,
                                      .context = progress};
    if (o->mode == MODE_VERIFY) return moe_pack_verify(report, o->packed, &options, err);
    char *path = model_path(o->model);
    signals_begin(finish, NULL);
    moe_status status = o->mode == MODE_PACK ? moe_pack_checkpoint(report, path, o->packed, &options, err)
                                             : moe_pack_compare(report, path, o->packed, &options, err);
    free(path);
    return status;
}

int main(int argc, char **argv) {
    signals_install();
    struct pack_options o;
    read_options(&o, argc, argv);
    output_open(&out);
    struct progress progress;
    progress_open(&progress, o.quiet);
    moe_pack_report report;
    moe_error err = {{0}};
    moe_status status = run(&o, &report, &progress, &err);
    progress_clear(&progress);
    if (status == MOE_E_CANCELLED) return 128 + interrupted();
    if (status != MOE_OK) die(STATUS_FAILED, "%s", err.message);
    print_report(&o, &report);
    output_close(&out);
    return STATUS_DONE;
}
