#include "cli/run_options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common.h"
#include "cli/output.h"

enum {
    OPT_IDS = 256,
    OPT_PRINT_IDS,
    OPT_IGNORE_EOS,
    OPT_STOP,
    OPT_LOGITS,
    OPT_TOKENIZE,
    OPT_DETOKENIZE,
    OPT_CHECK,
    OPT_ESCAPED,
    OPT_SKIP_SPECIAL,
    OPT_ADD_BOS,
    OPT_NO_BOS,
    OPT_TEMPERATURE,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_REPEAT_PENALTY,
    OPT_SEED,
    OPT_BATCH_SIZE,
    OPT_ISA,
    OPT_GEMM,
    OPT_PRECISION,
    OPT_PACK,
    OPT_HUGE_PAGES,
    OPT_JSON,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION,
    OPT_COUNT
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
    {"ids", required_argument, NULL, OPT_IDS},
    {"add-bos", no_argument, NULL, OPT_ADD_BOS},
    {"no-bos", no_argument, NULL, OPT_NO_BOS},
    {"n-predict", required_argument, NULL, 'n'},
    {"ctx", required_argument, NULL, 'c'},
    {"stop", required_argument, NULL, OPT_STOP},
    {"ignore-eos", no_argument, NULL, OPT_IGNORE_EOS},
    {"temperature", required_argument, NULL, OPT_TEMPERATURE},
    {"top-k", required_argument, NULL, OPT_TOP_K},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"min-p", required_argument, NULL, OPT_MIN_P},
    {"repeat-penalty", required_argument, NULL, OPT_REPEAT_PENALTY},
    {"seed", required_argument, NULL, OPT_SEED},
    {"print-ids", no_argument, NULL, OPT_PRINT_IDS},
    {"json", no_argument, NULL, OPT_JSON},
    {"logits", required_argument, NULL, OPT_LOGITS},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"tokenize", no_argument, NULL, OPT_TOKENIZE},
    {"detokenize", no_argument, NULL, OPT_DETOKENIZE},
    {"check", no_argument, NULL, OPT_CHECK},
    {"escaped", no_argument, NULL, OPT_ESCAPED},
    {"skip-special", no_argument, NULL, OPT_SKIP_SPECIAL},
    {"threads", required_argument, NULL, 't'},
    {"batch-size", required_argument, NULL, OPT_BATCH_SIZE},
    {"isa", required_argument, NULL, OPT_ISA},
    {"gemm", required_argument, NULL, OPT_GEMM},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"pack", no_argument, NULL, OPT_PACK},
    {"huge-pages", no_argument, NULL, OPT_HUGE_PAGES},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: moe-run [MODEL] [-p TEXT | -f FILE | --ids 1,2,3] [option ...]\n"
    "\n"
    "Generates text with a mixture-of-experts language model on the CPU, straight from its Hugging Face\n"
    "checkpoint. Generated text goes to standard output; progress, statistics and errors to standard error.\n"
    "\n"
    "MODEL (or -m MODEL) is a directory with config.json, *.safetensors and tokenizer.json, one safetensors\n"
    "file of such a directory, or org/name in the Hugging Face cache. Without it, the small storyteller that\n"
    "ships with this program is used, and without a prompt it begins by itself.\n"
    "\n"
    "Prompt:\n"
    "  -p, --prompt TEXT      the prompt; '-' reads it from standard input\n"
    "  -f, --file FILE        the prompt is the content of FILE, as it is\n"
    "      --ids 1,2,3        token ids instead of text; needs no tokenizer with --print-ids\n"
    "      --add-bos          begin with the model's BOS token, if the prompt does not\n"
    "      --no-bos           do not apply the tokenizer's post-processor, which may add BOS\n"
    "\n"
    "How much:\n"
    "  -n, --n-predict N      most tokens to generate (256, or fewer where -c leaves no room)\n"
    "  -c, --ctx N            positions of the context (prompt + N); memory is sized by it\n"
    "      --stop TEXT        end before TEXT; may be given up to 16 times\n"
    "      --ignore-eos       do not end at the model's end-of-sequence tokens\n"
    "\n"
    "Sampling:\n"
    "      --temperature T    0 is greedy: always the most likely token (0)\n"
    "      --top-k K          of the K most likely tokens; 0: of all (0)\n"
    "      --top-p P          of the fewest tokens that together reach probability P (1)\n"
    "      --min-p P          of the tokens at least P times as likely as the best (0)\n"
    "      --repeat-penalty R divide the logits of tokens that occurred by R (1)\n"
    "      --seed S           of the draws, which depend on it and the position alone (0)\n"
    "\n"
    "Output:\n"
    "      --print-ids        generated ids, separated by commas on one line, instead of text\n"
    "      --json             one JSON object: text, ids, finish reason, timings, model\n"
    "      --logits FILE      write tensor 'logits', F32 [rows fed, vocabulary], to this safetensors file\n"
    "      --quiet            nothing on standard error but errors\n"
    "\n"
    "Tokenizer only (the model needs no more than tokenizer.json):\n"
    "      --tokenize         each line of standard input to ids, separated by commas; --no-bos applies\n"
    "      --detokenize       the inverse; newline, return and backslash are written \\n, \\r and \\\\\n"
    "      --escaped          --tokenize reads \\n, \\r and \\\\ as --detokenize writes them\n"
    "      --skip-special     --detokenize leaves special tokens out\n"
    "\n"
    "Checkpoint only:\n"
    "      --check            generate nothing: report whether the files are whole, all values finite, and\n"
    "                         whether there is memory for a context of -c positions (--batch-size + 256);\n"
    "                         the options below, --json and --quiet apply\n"
    "\n"
    "Machine:\n"
    "  -t, --threads N        threads (the physical cores that this process may use)\n"
    "      --batch-size N     most rows of the prompt computed at once (512)\n"
    "      --isa NAME         use no instruction set past this one:";

static const char help_end[] =
    "\n"
    "      --gemm NAME        native, or openblas to compare with (native)\n"
    "      --precision NAME   fp32, or bf16: activations rounded for products with BF16 weights; other\n"
    "                         numbers, for speed on CPUs with avx512_bf16 (fp32)\n"
    "      --pack             pack BF16 weights into 12 bits when loading, without loss, on huge pages\n"
    "      --huge-pages       copy the weights to huge pages when loading, as they are\n"
    "\n"
    "  -h, --help             this text\n"
    "  -V, --version          the version\n"
    "\n"
    "Exit status: 0 done; 1 failure, or --check found something; 2 wrong usage; 130 or 143 after SIGINT or\n"
    "SIGTERM, once what was generated is printed.\n"
    "\n"
    "Examples:\n"
    "  moe-run\n"
    "  moe-run -p 'The fox and the owl' --temperature 0.8 --top-p 0.95 --seed 7\n"
    "  moe-run Qwen/Qwen3-30B-A3B -f question.txt -n 400 --stop '<|im_end|>'\n"
    "  moe-run ./OLMoE-1B-7B-0924 --ids 510,5347 -n 32 --print-ids\n"
    "  moe-run Qwen/Qwen3-30B-A3B --tokenize < lines.txt\n"
    "  moe-run --check Qwen/Qwen3-30B-A3B -c 32768\n";

/* The outputs of --help and --version are checked like any other. */
static void print_and_exit(bool is_help) {
    static struct output out;
    output_open(&out);
    if (!is_help) output_format(&out, "moe-run %s\n", moe_version());
    if (is_help) {
        output_write(&out, help, sizeof help - 1);
        const char *name;
        bool runs_here;
        for (size_t i = 0; (name = moe_isa_name(i, &runs_here)); i++)
            output_format(&out, "%s%s", i ? ", " : " ", name);
        output_format(&out, "\n                         (this CPU runs");
        for (size_t i = 0; (name = moe_isa_name(i, &runs_here)); i++)
            if (runs_here) output_format(&out, "%s%s", i ? ", " : " ", name);
        output_write(&out, ")", 1);
        output_write(&out, help_end, sizeof help_end - 1);
    }
    output_close(&out);
    exit(STATUS_DONE);
}

static void add_stop(struct run_options *o, const char *text) {
    size_t n = strlen(text);
    if (n == 0 || n > MAX_STOP_BYTES || !is_utf8(text, n))
        die(STATUS_USAGE, "--stop: expected 1 to %d bytes of UTF-8", MAX_STOP_BYTES);
    if (o->n_stops == MAX_STOPS) die(STATUS_USAGE, "--stop: more than %d of them", MAX_STOPS);
    o->stops[o->n_stops++] = text;
}

static void read_number(struct run_options *o, int option, const char *value) {
    moe_sampling *s = &o->sampling;
    switch (option) {
    case 'n':
        o->n_generate = parse_integer("--n-predict", value, 0, INT32_MAX);
        break;
    case 'c':
        o->context = parse_integer("--ctx", value, 1, INT32_MAX);
        break;
    case 't':
        o->n_threads = parse_integer("--threads", value, 1, 1024);
        break;
    case OPT_BATCH_SIZE:
        o->batch_size = parse_integer("--batch-size", value, 1, 65536);
        break;
    case OPT_TEMPERATURE:
        s->temperature = (float)parse_real("--temperature", value, 0, 1000);
        break;
    case OPT_TOP_K:
        s->top_k = parse_integer("--top-k", value, 0, INT32_MAX);
        break;
    case OPT_TOP_P:
        s->top_p = (float)parse_real("--top-p", value, 1e-6, 1);
        break;
    case OPT_MIN_P:
        s->min_p = (float)parse_real("--min-p", value, 0, 1);
        break;
    case OPT_REPEAT_PENALTY:
        s->repeat_penalty = (float)parse_real("--repeat-penalty", value, 0.01, 100);
        break;
    case OPT_SEED:
        s->seed = parse_integer("--seed", value, 0, UINT64_MAX);
        break;
    }
}

static void read_flag(struct run_options *o, int option) {
    switch (option) {
    case OPT_PRINT_IDS:
        o->print_ids = true;
        break;
    case OPT_IGNORE_EOS:
        o->ignore_eos = true;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_QUIET:
        o->quiet = true;
        break;
    case OPT_ESCAPED:
        o->escaped = true;
        break;
    case OPT_SKIP_SPECIAL:
        o->skip_special = true;
        break;
    case OPT_ADD_BOS:
        o->bos = BOS_ADD;
        break;
    case OPT_NO_BOS:
        o->bos = BOS_NONE;
        break;
    case OPT_PACK:
        o->weights = MOE_WEIGHTS_PACKED;
        break;
    case OPT_HUGE_PAGES:
        o->weights = MOE_WEIGHTS_HUGE;
        break;
    case OPT_TOKENIZE:
        o->mode = RUN_TOKENIZE;
        break;
    case OPT_DETOKENIZE:
        o->mode = RUN_DETOKENIZE;
        break;
    case OPT_CHECK:
        o->mode = RUN_CHECK;
        break;
    }
}

static void read_option(struct run_options *o, int option, char *value, char **argv) {
    switch (option) {
    case 'm':
        o->model = value;
        break;
    case 'p':
        o->prompt = value;
        break;
    case 'f':
        o->prompt_file = value;
        break;
    case OPT_IDS:
        free(o->ids);
        o->n_ids = parse_integers(&o->ids, "--ids", value, 0, UINT32_MAX);
        break;
    case OPT_STOP:
        add_stop(o, value);
        break;
    case OPT_LOGITS:
        o->logits_file = value;
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
        if (value) read_number(o, option, value);
        if (!value) read_flag(o, option);
    }
}

/* Which options were given, and how often matters for those whose first value would be lost. */
struct given {
    unsigned char count[OPT_COUNT];
};

static const char *option_name(int option) {
    for (const struct option *l = long_options; l->name; l++)
        if (l->val == option) return l->name;
    return "";
}

/* Wrong usage if one of `others` [n] was given beside `option`. */
static void refuse_with(const struct given *g, int option, const int *others, size_t n) {
    for (size_t i = 0; g->count[option] && i < n; i++)
        if (others[i] != option && g->count[others[i]])
            die(STATUS_USAGE, "--%s contradicts --%s", option_name(option), option_name(others[i]));
}

#define REFUSE_WITH(given, option, ...)                                                                      \
    refuse_with((given), (option), (const int[]){__VA_ARGS__}, sizeof(const int[]){__VA_ARGS__} / sizeof(int))

static void check_combination(struct run_options *o, const struct given *g) {
    static const int once[] = {'m', 'p', 'f', OPT_IDS, OPT_LOGITS};
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (g->count[once[i]] > 1) die(STATUS_USAGE, "--%s was given twice", option_name(once[i]));
    REFUSE_WITH(g, 'p', 'f', OPT_IDS);
    REFUSE_WITH(g, 'f', OPT_IDS);
    REFUSE_WITH(g, OPT_ADD_BOS, OPT_NO_BOS, OPT_IDS);
    REFUSE_WITH(g, OPT_NO_BOS, OPT_IDS);
    REFUSE_WITH(g, OPT_JSON, OPT_PRINT_IDS);
    REFUSE_WITH(g, OPT_PACK, OPT_HUGE_PAGES);
    static const int tokenizer_modes[] = {OPT_TOKENIZE, OPT_DETOKENIZE};
    for (size_t i = 0; i < 2; i++)
        REFUSE_WITH(g, tokenizer_modes[i], OPT_TOKENIZE, OPT_DETOKENIZE, 'p', 'f', OPT_IDS, OPT_ADD_BOS, 'n',
                    'c', OPT_STOP, OPT_IGNORE_EOS, OPT_TEMPERATURE, OPT_TOP_K, OPT_TOP_P, OPT_MIN_P,
                    OPT_REPEAT_PENALTY, OPT_SEED, OPT_PRINT_IDS, OPT_JSON, OPT_LOGITS, OPT_PACK,
                    OPT_HUGE_PAGES, OPT_PRECISION);
    REFUSE_WITH(g, OPT_DETOKENIZE, OPT_NO_BOS, OPT_ESCAPED);
    REFUSE_WITH(g, OPT_CHECK, OPT_TOKENIZE, OPT_DETOKENIZE, 'p', 'f', OPT_IDS, OPT_ADD_BOS, OPT_NO_BOS, 'n',
                OPT_STOP, OPT_IGNORE_EOS, OPT_TEMPERATURE, OPT_TOP_K, OPT_TOP_P, OPT_MIN_P,
                OPT_REPEAT_PENALTY, OPT_SEED, OPT_PRINT_IDS, OPT_LOGITS, OPT_ESCAPED, OPT_SKIP_SPECIAL);
    if (o->escaped && o->mode != RUN_TOKENIZE) die(STATUS_USAGE, "--escaped goes with --tokenize");
    if (o->skip_special && o->mode != RUN_DETOKENIZE)
        die(STATUS_USAGE, "--skip-special goes with --detokenize");
    if (o->mode != RUN_GENERATE) return;

    bool has_prompt = o->prompt || o->prompt_file || o->ids;
    if (!has_prompt && o->model)
        die(STATUS_USAGE, "no prompt: expected -p TEXT, -f FILE or --ids (see --help)");
    if (!has_prompt) o->prompt = "Once upon a time, there was";
    if (o->prompt && !*o->prompt) die(STATUS_USAGE, "--prompt: the prompt is empty");
    static const int sampling[] = {OPT_TOP_K, OPT_TOP_P, OPT_MIN_P, OPT_SEED};
    for (size_t i = 0; i < sizeof sampling / sizeof *sampling; i++)
        if (g->count[sampling[i]] && o->sampling.temperature == 0 && !o->quiet)
            note("--%s changes nothing at --temperature 0, which is greedy", option_name(sampling[i]));
}

void run_options_read(struct run_options *o, int argc, char **argv) {
    *o = (struct run_options){
        .n_generate = SIZE_MAX, .batch_size = 512, .sampling = {.top_p = 1, .repeat_penalty = 1}};
    struct given given = {{0}};
    opterr = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":m:p:f:n:c:t:hV", long_options, NULL)) != -1) {
        if (option < OPT_COUNT && given.count[option] < UCHAR_MAX) given.count[option]++;
        read_option(o, option, optarg, argv);
    }
    if (optind < argc) {
        given.count['m']++;
        o->model = argv[optind++];
    }
    if (optind < argc) die(STATUS_USAGE, "'%s': expected one MODEL and options (see --help)", argv[optind]);
    check_combination(o, &given);
}
