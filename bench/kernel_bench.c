/* Every operation of the .def files on every instruction set that this CPU has, and the grouped expert GEMM
 * natively and by OpenBLAS. One thread. A number is the median of samples, and stands beside the limits: how
 * fast one thread reads from where the data lies (L1, L2, L3, memory), and what independent multiply-adds
 * reach. The larger percentage is that of the limit that binds. --clock cpu counts the thread's own time, for
 * machines shared with other work. docs/kernel-bench.md */
#include "bench/kernel_bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common.h"

const char program_name[] = "kernel_bench";

enum { OPT_HUGE_PAGES = 256, OPT_GROUPS, OPT_HELP };

static const struct option long_options[] = {
    {"op", required_argument, NULL, 'p'},
    {"isa", required_argument, NULL, 'i'},
    {"gemm", no_argument, NULL, OPT_GROUPS},
    {"rows", required_argument, NULL, 'm'},
    {"cols", required_argument, NULL, 'n'},
    {"k", required_argument, NULL, 'k'},
    {"huge-pages", no_argument, NULL, OPT_HUGE_PAGES},
    {"samples", required_argument, NULL, 's'},
    {"ms", required_argument, NULL, 't'},
    {"clock", required_argument, NULL, 'c'},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: kernel_bench [option ...]\n"
    "\n"
    "Every operation on every instruction set of this CPU: time, GB/s of the level that the data lies in,\n"
    "GFLOP/s, and how much of the limits that is. One thread.\n"
    "\n"
    "      --op NAME         only this operation\n"
    "      --isa NAME        only this instruction set\n"
    "      --gemm            the grouped expert GEMM, native against OpenBLAS, instead\n"
    "      --rows M          of the GEMMs: activations (1, 2, 4, 8, 16, 64; with --gemm 1 to 128)\n"
    "      --cols N          of the GEMMs: outputs per call (96; with --gemm 1024)\n"
    "      --k K             of the GEMMs: length of the sums (2048)\n"
    "      --huge-pages      weights in huge pages, as packed ones are; without: small ones, as of a file\n"
    "      --samples N       numbers shown are medians of this many (7)\n"
    "      --ms T            how long one sample lasts at least (5)\n"
    "      --clock NAME      cpu: the thread's own time, on a machine shared with other work (wall)\n"
    "  -o, --output FORMAT   text or json (text)\n"
    "  -h, --help            this text\n";

static void print_help(void) {
    static struct output out;
    output_open(&out);
    output_write(&out, help, sizeof help - 1);
    output_close(&out);
    exit(STATUS_DONE);
}

/* Whether the value is the second of the two names. */
static bool is_second(const char *option, const char *value, const char *first, const char *second) {
    if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
        die(STATUS_USAGE, "%s: '%s', expected %s or %s", option, value, first, second);
    return strcmp(value, second) == 0;
}

static void read_option(struct settings *s, int option, char **argv) {
    enum { MOST = 1 << 24 };
    switch (option) {
    case 'p':
        s->op = optarg;
        break;
    case 'i':
        check_isa("--isa", optarg);
        s->isa = optarg;
        break;
    case OPT_GROUPS:
        s->groups = true;
        break;
    case 'm':
        s->rows = parse_integer("--rows", optarg, 1, MOST);
        break;
    case 'n':
        s->cols = parse_integer("--cols", optarg, 1, MOST);
        break;
    case 'k':
        s->k = parse_integer("--k", optarg, 1, MOST);
        break;
    case OPT_HUGE_PAGES:
        s->huge_pages = true;
        break;
    case 's':
        s->n_samples = parse_integer("--samples", optarg, 1, MAX_SAMPLES);
        break;
    case 't':
        s->seconds = 1e-3 * (double)parse_integer("--ms", optarg, 1, 60000);
        break;
    case 'c':
        s->clock = is_second("--clock", optarg, "wall", "cpu") ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
        break;
    case 'o':
        s->json = is_second("--output", optarg, "text", "json");
        break;
    case 'h':
    case OPT_HELP:
        print_help();
        break;
    default:
        die_of_option(option, argv);
    }
}

static struct settings parse(int argc, char **argv) {
    struct settings s = {.n_samples = 7, .seconds = 5e-3, .clock = CLOCK_MONOTONIC};
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1;) read_option(&s, o, argv);
    if (optind < argc) die(STATUS_USAGE, "'%s': expected options alone (see --help)", argv[optind]);
    return s;
}

static bool wanted(const struct bench *b, const char *op) {
    return !b->set->op || strcmp(b->set->op, op) == 0;
}

static bool is_operation(const char *name) {
    static const char *const names[] = {
#define MOE_OP(op) #op,
#include "kernels/ops.def"
#undef MOE_OP
#define MOE_FORMAT_OP(op) #op,
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
#define MOE_LAYOUT_OP(op) #op,
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static void bench_isa(struct bench *b) {
#define MOE_OP(op)                                                                                           \
    if (wanted(b, #op)) bench_##op(b);
#include "kernels/ops.def"
#undef MOE_OP
    for (int f = 0; f < MOE_FORMAT_COUNT; f++) {
#define MOE_FORMAT_OP(op)                                                                                    \
    if (wanted(b, #op)) bench_##op(b, (enum moe_format)f);
#include "kernels/format_ops.def"
#undef MOE_FORMAT_OP
    }
    for (int l = 0; l < MOE_LAYOUT_COUNT; l++) {
#define MOE_LAYOUT_OP(op)                                                                                    \
    if (wanted(b, #op)) bench_##op(b, (enum moe_layout)l);
#include "kernels/layout_ops.def"
#undef MOE_LAYOUT_OP
    }
}

int main(int argc, char **argv) {
    const struct settings set = parse(argc, argv);
    static struct bench b;
    b.set = &set;
    if (set.op && !is_operation(set.op)) die(STATUS_USAGE, "--op: '%s' is no operation", set.op);
    bench_open(&b);
    moe_error err = {{0}};
    if (set.groups && moe_openblas_available() && moe_openblas_open(&b.openblas, &err) != MOE_OK)
        die(STATUS_FAILED, "%s", err.message);
    enum moe_isa fastest;
    moe_isa_select(&fastest, NULL, NULL);
    for (int i = 0; i < MOE_ISA_COUNT; i++) {
        const char *name = moe_isa_get_name((enum moe_isa)i);
        if (set.isa ? strcmp(set.isa, name) != 0 : set.groups && i != (int)fastest) continue;
        if (!moe_isa_runs_here((enum moe_isa)i)) {
            note("%s: skipped, this CPU does not have it", name);
            continue;
        }
        bench_select(&b, (enum moe_isa)i);
        if (set.groups) bench_groups(&b);
        if (!set.groups) bench_isa(&b);
    }
    bench_close(&b);
    return STATUS_DONE;
}
