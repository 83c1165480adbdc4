#include "bench/bench_options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

enum {
    OPT_SYNTHETIC = 256,
    OPT_FORMAT,
    OPT_LAYERS,
    OPT_ISA,
    OPT_GEMM,
    OPT_PRECISION,
    OPT_PACK,
    OPT_HUGE_PAGES,
    OPT_SEED,
    OPT_PASS_ROWS,
    OPT_NO_WARMUP,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"synthetic", required_argument, NULL, OPT_SYNTHETIC},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"layers", required_argument, NULL, OPT_LAYERS},
    {"n-prompt", required_argument, NULL, 'p'},
    {"n-gen", required_argument, NULL, 'n'},
    {"n-depth", required_argument, NULL, 'd'},
    {"batches", required_argument, NULL, 'b'},
    {"threads", required_argument, NULL, 't'},
    {"repetitions", required_argument, NULL, 'r'},
    {"output", required_argument, NULL, 'o'},
    {"ubatch-size", required_argument, NULL, OPT_PASS_ROWS},
    {"isa", required_argument, NULL, OPT_ISA},
    {"gemm", required_argument, NULL, OPT_GEMM},
    {"pack", no_argument, NULL, OPT_PACK},
    {"huge-pages", no_argument, NULL, OPT_HUGE_PAGES},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"seed", required_argument, NULL, OPT_SEED},
    {"no-warmup", no_argument, NULL, OPT_NO_WARMUP},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: moe-bench [-m MODEL | --synthetic SHAPE.json] [option ...]\n"
    "\n"
    "Measures prompt processing (pp) and text generation (tg) in tokens/s, and how much of the machine's\n"
    "memory bandwidth and arithmetic peak that is. Both limits are measured in the same run, before and\n"
    "after each test. Options and fields are named after llama-bench's; a list is 1,2,4.\n"
    "\n"
    "Model:\n"
    "  -m, --model MODEL        a directory, one safetensors file of it, or org/name in the Hugging Face cache\n"
    "                           (the shipped checkpoint)\n"
    "      --synthetic SHAPE    random weights for this config.json; bench/shapes/ has some\n"
    "      --format NAME        their storage: f32, f16, fp8, mxfp4, affine2, 3, 4, 5, 6, 8 (bf16)\n"
    "      --layers N           only the first N layers of SHAPE, where the whole does not fit\n"
    "      --seed S             of the random weights and of the tokens (1)\n"
    "      --pack               pack BF16 weights into 12 bits when loading, without loss, on huge pages\n"
    "      --huge-pages         copy the weights to huge pages when loading, as they are\n"
    "\n"
    "Tests, one per combination:\n"
    "  -p, --n-prompt LIST      tokens of a prompt; 0: no such test (512)\n"
    "  -n, --n-gen LIST         tokens to generate, one after the other; 0: no such test (128)\n"
    "  -b, --batches LIST       sequences that generate side by side, each with tokens of its own (1)\n"
    "  -d, --n-depth LIST       positions that are in the cache before the test begins (0)\n"
    "  -t, --threads LIST       threads (the physical cores that this process may use)\n"
    "  -r, --repetitions N      of each test, after one that does not count (5)\n"
    "      --no-warmup          without that one\n"
    "      --ubatch-size N      most rows computed at once (512)\n"
    "      --isa NAME           use no instruction set past this one\n"
    "      --gemm NAME          native or openblas (native)\n"
    "      --precision NAME     fp32, or bf16: activations rounded for products with BF16 weights; the peak is\n"
    "                           that of these products then (fp32)\n"
    "\n"
    "Output:\n"
    "  -o, --output FORMAT      md, csv or json (md)\n"
    "      --quiet              no progress\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n"
    "\n"
    "Exit status: 0 done; 1 failure, or logits that differ between repetitions or numbers of threads;\n"
    "2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  moe-bench -p 512 -n 128 -t 1,2\n"
    "  moe-bench --synthetic bench/shapes/qwen3-30b-a3b.json --layers 4 -p 512 -n 32 -b 1,4,16 -o json\n";

static void print_and_exit(bool is_help) {
    static struct output out;
    output_open(&out);
    if (is_help) output_write(&out, help, sizeof help - 1);
    if (!is_help) output_format(&out, "moe-bench %s\n", moe_version());
    output_close(&out);
    exit(STATUS_DONE);
}

static void read_list(struct bench_list *list, const char *option, const char *value, uint64_t min,
                      uint64_t max) {
    free(list->items);
    list->n = parse_integers(&list->items, option, value, min, max);
}

static enum bench_format read_format(const char *value) {
    if (!strcmp(value, "md")) return BENCH_MARKDOWN;
    if (!strcmp(value, "csv")) return BENCH_CSV;
    if (!strcmp(value, "json")) return BENCH_JSON;
    die(STATUS_USAGE, "--output: '%s', expected md, csv or json", value);
}

static void read_test_option(struct bench_options *o, int option, const char *value) {
    switch (option) {
    case 'p':
        read_list(&o->prompts, "--n-prompt", value, 0, 1 << 24);
        break;
    case 'n':
        read_list(&o->generates, "--n-gen", value, 0, 1 << 24);
        break;
    case 'd':
        read_list(&o->depths, "--n-depth", value, 0, 1 << 24);
        break;
    case 'b':
        read_list(&o->batches, "--batches", value, 1, 65536);
        break;
    case 't':
        read_list(&o->threads, "--threads", value, 1, 1024);
        break;
    case 'r':
        o->n_repeats = parse_integer("--repetitions", value, 1, 10000);
        break;
    case OPT_PASS_ROWS:
        o->pass_rows = parse_integer("--ubatch-size", value, 1, 65536);
        break;
    case OPT_NO_WARMUP:
        o->skip_warmup = true;
        break;
    }
}

static void read_option(struct bench_options *o, int option, const char *value, char **argv) {
    switch (option) {
    case 'm':
        o->model = value;
        break;
    case OPT_SYNTHETIC:
        o->synthetic = value;
        break;
    case OPT_FORMAT:
        check_synthetic_format("--format", value);
        o->storage = value;
        break;
    case OPT_LAYERS:
        o->n_layers = parse_integer("--layers", value, 1, 100000);
        break;
    case OPT_SEED:
        o->seed = parse_integer("--seed", value, 0, UINT64_MAX);
        break;
    case OPT_ISA:
        check_isa("--isa", value);
        o->isa = value;
        break;
    case OPT_GEMM:
        o->gemm = parse_gemm("--gemm", value);
        break;
    case OPT_PRECISION:
        o->precision = parse_precision("--precision", value);
        break;
    case OPT_PACK:
    case OPT_HUGE_PAGES:
        add_weights_form(&o->weights, option == OPT_PACK ? MOE_WEIGHTS_PACKED : MOE_WEIGHTS_HUGE);
        break;
    case 'o':
        o->format = read_format(value);
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
    case ':':
    case '?':
        die_of_option(option, argv);
    default:
        read_test_option(o, option, value);
    }
}

static void set_default(struct bench_list *list, uint64_t value) {
    if (list->n > 0) return;
    list->items = need(1, sizeof *list->items);
    list->items[0] = value;
    list->n = 1;
}

void bench_options_read(struct bench_options *o, int argc, char **argv) {
    *o = (struct bench_options){.n_repeats = 5, .pass_rows = 512, .seed = 1};
    opterr = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":m:p:n:d:b:t:r:o:hV", long_options, NULL)) != -1)
        read_option(o, option, optarg, argv);
    if (optind < argc) die(STATUS_USAGE, "'%s': expected options alone (see --help)", argv[optind]);
    if (o->model && o->synthetic) die(STATUS_USAGE, "--synthetic contradicts --model");
    if (o->storage && !o->synthetic) die(STATUS_USAGE, "--format goes with --synthetic");
    if (o->n_layers && !o->synthetic) die(STATUS_USAGE, "--layers goes with --synthetic");
    set_default(&o->prompts, 512);
    set_default(&o->generates, 128);
    set_default(&o->depths, 0);
    set_default(&o->batches, 1);
    set_default(&o->threads, moe_physical_cores());
}

void bench_options_free(struct bench_options *o) {
    free(o->prompts.items);
    free(o->generates.items);
    free(o->depths.items);
    free(o->batches.items);
    free(o->threads.items);
}
