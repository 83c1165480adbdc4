/* moe-compare: this engine against a reference dump. */

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common.h"
#include "cli/comparison.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "moe.h"

const char program_name[] = "moe-compare";

struct compare_options {
    const char *model, *dump, *isa;
    moe_gemm gemm;
    moe_precision precision;
    moe_weights_form weights;
    size_t n_threads, batch_size;
    double tolerance;
    bool json;
};

enum {
    OPT_ISA = 256,
    OPT_GEMM,
    OPT_PRECISION,
    OPT_PACK,
    OPT_HUGE_PAGES,
    OPT_BATCH_SIZE,
    OPT_TOLERANCE,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"threads", required_argument, NULL, 't'},
    {"isa", required_argument, NULL, OPT_ISA},
    {"gemm", required_argument, NULL, OPT_GEMM},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"pack", no_argument, NULL, OPT_PACK},
    {"huge-pages", no_argument, NULL, OPT_HUGE_PAGES},
    {"batch-size", required_argument, NULL, OPT_BATCH_SIZE},
    {"tolerance", required_argument, NULL, OPT_TOLERANCE},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: moe-compare MODEL DUMP [option ...]\n"
    "\n"
    "Feeds the tokens of a reference dump (scripts/dump_reference.py) to MODEL and prints, for everything\n"
    "that the dump holds, the largest difference; the first token that differs and the reference's margin\n"
    "there, so that a near-tie can be told from a fault; and the layer where the difference begins.\n"
    "\n"
    "MODEL is a directory, one safetensors file of it, or org/name in the Hugging Face cache; DUMP a\n"
    "safetensors file.\n"
    "\n"
    "  -t, --threads N      threads (the physical cores that this process may use)\n"
    "      --isa NAME       use no instruction set past this one\n"
    "      --gemm NAME      native or openblas (native)\n"
    "      --precision NAME fp32, or bf16: activations rounded for products with BF16 weights (fp32)\n"
    "      --pack           pack BF16 weights when loading, without loss\n"
    "      --huge-pages     copy the weights to huge pages when loading\n"
    "      --batch-size N   positions computed at once (64)\n"
    "      --tolerance X    a layer is off if it differs by more than X standard deviations (1e-3)\n"
    "      --json           one JSON object instead of a table\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n"
    "\n"
    "Exit status: 0 every greedy token is the reference's; 1 one differs, or a failure; 2 wrong usage.\n"
    "\n"
    "Example:\n"
    "  scripts/dump_reference.py ./OLMoE-1B-7B-0924 dump.safetensors --prompt 'The moon' -n 32 --all\n"
    "  moe-compare ./OLMoE-1B-7B-0924 dump.safetensors\n";

static struct output out;

static void print_and_exit(bool is_help) {
    output_open(&out);
    if (is_help) output_write(&out, help, sizeof help - 1);
    if (!is_help) output_format(&out, "moe-compare %s\n", moe_version());
    output_close(&out);
    exit(STATUS_DONE);
}

static void read_options(struct compare_options *o, int argc, char **argv) {
    *o = (struct compare_options){.batch_size = 64, .tolerance = 1e-3};
    opterr = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":t:hV", long_options, NULL)) != -1) {
        switch (option) {
        case 't':
            o->n_threads = parse_integer("--threads", optarg, 1, 1024);
            break;
        case OPT_ISA:
            check_isa("--isa", optarg);
            o->isa = optarg;
            break;
        case OPT_GEMM:
            o->gemm = parse_gemm("--gemm", optarg);
            break;
        case OPT_PRECISION:
            o->precision = parse_precision("--precision", optarg);
            break;
        case OPT_PACK:
        case OPT_HUGE_PAGES:
            add_weights_form(&o->weights, option == OPT_PACK ? MOE_WEIGHTS_PACKED : MOE_WEIGHTS_HUGE);
            break;
        case OPT_BATCH_SIZE:
            o->batch_size = parse_integer("--batch-size", optarg, 1, 65536);
            break;
        case OPT_TOLERANCE:
            o->tolerance = parse_real("--tolerance", optarg, 0, 1e6);
            break;
        case OPT_JSON:
            o->json = true;
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
    if (argc - optind != 2) die(STATUS_USAGE, "expected MODEL and DUMP (see --help)");
    o->model = argv[optind];
    o->dump = argv[optind + 1];
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static bool has_quantity(const struct comparison *c, enum quantity q) {
    for (size_t l = 0; l < c->reference->n_layers; l++)
        if (comparison_get(c, q, l)->n_rows > 0) return true;
    return false;
}

static double in_deviations(const struct comparison *c, enum quantity q, size_t layer) {
    double deviation = reference_get(c->reference, q, layer)->deviation;
    double largest = comparison_get(c, q, layer)->largest;
    return largest == 0 ? 0 : largest / deviation;
}

static void print_cell(const struct comparison *c, enum quantity q, size_t layer) {
    const struct difference *d = comparison_get(c, q, layer);
    char cell[64] = "-";
    if (d->n_rows > 0) snprintf(cell, sizeof cell, "%.2g (%.1g)", d->largest, in_deviations(c, q, layer));
    output_format(&out, "  %18s", cell);
}

static void print_experts(const struct difference *d) {
    if (d->n_rows == 0) output_format(&out, "  -");
    if (d->n_rows > 0) output_format(&out, "  %zu of %zu rows", d->n_differing, d->n_rows);
    if (d->n_differing > 0) output_format(&out, ", first row %zu", d->first_row);
    if (d->n_differing > 0 && !isnan(d->margin)) output_format(&out, " (margin %.2g)", d->margin);
}

static void print_layers(const struct comparison *c) {
    static const enum quantity columns[] = {Q_HIDDEN, Q_ROUTER, Q_FFN_IN, Q_FFN_OUT};
    bool shown[Q_LOGITS], any = false;
    for (int q = 0; q < Q_LOGITS; q++) any |= shown[q] = has_quantity(c, (enum quantity)q);
    if (!any) return;
    output_format(&out, "largest difference per layer (in standard deviations of the reference)\nlayer");
    for (size_t i = 0; i < 4; i++)
        if (shown[columns[i]]) output_format(&out, "  %18s", quantity_names[columns[i]]);
    output_format(&out, shown[Q_EXPERTS] ? "  experts that differ\n" : "\n");
    for (size_t l = 0; l < c->reference->n_layers; l++) {
        output_format(&out, "%5zu", l);
        for (size_t i = 0; i < 4; i++)
            if (shown[columns[i]]) print_cell(c, columns[i], l);
        if (shown[Q_EXPERTS]) print_experts(comparison_get(c, Q_EXPERTS, l));
        output_write(&out, "\n", 1);
    }
    output_write(&out, "\n", 1);
}

static void print_verdict(const struct comparison *c, double tolerance) {
    if (c->logits.n_rows > 0)
        output_format(&out,
                      "logits     largest difference %.3g (%.2g standard deviations) at row %zu of %zu\n",
                      c->logits.largest, in_deviations(c, Q_LOGITS, 0), c->logits.row, c->logits.n_rows);
    if (c->distributions.n_rows > 0)
        output_format(&out,
                      "KL         from the reference %.3g nats, largest %.3g at row %zu; "
                      "top token equal in %zu of %zu rows\n",
                      c->distributions.kl, c->distributions.largest_kl, c->distributions.row,
                      c->distributions.n_top_equal, c->distributions.n_rows);
    output_format(&out, "tokens     %zu of %zu equal", c->n_equal, c->n_tokens);
    if (!isnan(c->smallest_margin))
        output_format(&out, "; the reference's smallest margin is %.3g, at token %zu", c->smallest_margin,
                      c->smallest_margin_token);
    output_write(&out, "\n", 1);
    size_t layer;
    enum quantity q;
    if (comparison_begins(c, tolerance, &layer, &q))
        output_format(&out, "begins     in layer %zu: %s\n", layer, quantity_names[q]);
    if (c->n_equal == c->n_tokens) {
        output_format(&out, "result     exact\n");
        return;
    }
    output_format(&out, "result     differs from token %zu on (row %zu): ", c->first_token,
                  c->reference->n_prompt - 1 + c->first_token);
    if (c->ours == UINT32_MAX) output_format(&out, "logits that are not numbers");
    if (c->ours != UINT32_MAX) output_format(&out, "%u (margin %.3g)", c->ours, c->our_margin);
    output_format(&out, ", the reference has %u", c->theirs);
    if (!isnan(c->ref_margin)) output_format(&out, " (margin %.3g)", c->ref_margin);
    output_write(&out, "\n", 1);
}

static void print_table(const struct comparison *c, const struct compare_options *o, size_t n_threads) {
    const moe_model_info *m = c->model;
    output_format(&out, "model      ");
    output_text(&out, o->model, strlen(o->model));
    output_format(&out, " (%s, %s; %s, %s%s, %zu thread%s)\nreference  ", m->family, m->storage, m->isa,
                  m->gemm, precision_note(m), n_threads, n_threads == 1 ? "" : "s");
    output_text(&out, o->dump, strlen(o->dump));
    output_format(&out, " (%zu prompt + %zu generated tokens, %zu rows)\n\n", c->reference->n_prompt,
                  c->reference->n_generated, c->n_rows);
    print_layers(c);
    print_verdict(c, o->tolerance);
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static void json_difference(struct json *j, const struct comparison *c, enum quantity q, size_t layer) {
    const struct difference *d = comparison_get(c, q, layer);
    if (d->n_rows == 0) return;
    json_open(j, quantity_names[q], '{');
    json_integer(j, "rows", d->n_rows);
    if (q == Q_EXPERTS) {
        json_integer(j, "rows_differing", d->n_differing);
        if (d->n_differing > 0) {
            json_integer(j, "first_row", d->first_row);
            json_real(j, "margin", d->margin);
        }
    } else {
        json_real(j, "largest", d->largest); /* null: infinite */
        json_real(j, "largest_in_deviations", in_deviations(c, q, layer));
        json_integer(j, "row", d->row);
    }
    json_close(j, '}');
}

static void json_distributions(struct json *j, const struct distributions *d) {
    if (d->n_rows == 0) return;
    json_open(j, "distributions", '{');
    json_integer(j, "rows", d->n_rows);
    json_real(j, "kl", d->kl); /* null: infinite */
    json_real(j, "largest_kl", d->largest_kl);
    json_integer(j, "row", d->row);
    json_integer(j, "top_equal", d->n_top_equal);
    json_close(j, '}');
}

static void json_tokens(struct json *j, const struct comparison *c) {
    json_open(j, "tokens", '{');
    json_integer(j, "compared", c->n_tokens);
    json_integer(j, "equal", c->n_equal);
    json_real(j, "smallest_reference_margin", c->smallest_margin);
    if (c->n_equal < c->n_tokens) {
        json_open(j, "first_difference", '{');
        json_integer(j, "token", c->first_token);
        if (c->ours == UINT32_MAX) json_null(j, "ours");
        if (c->ours != UINT32_MAX) json_integer(j, "ours", c->ours);
        json_integer(j, "reference", c->theirs);
        json_real(j, "our_margin", c->our_margin);
        json_real(j, "reference_margin", c->ref_margin);
        json_close(j, '}');
    }
    json_close(j, '}');
}

static void print_json(const struct comparison *c, const struct compare_options *o, size_t n_threads) {
    struct json j = {.out = &out};
    json_open(&j, NULL, '{');
    json_bool(&j, "exact", c->n_equal == c->n_tokens);
    json_string(&j, "model", o->model);
    json_string(&j, "reference", o->dump);
    json_string(&j, "family", c->model->family);
    json_string(&j, "isa", c->model->isa);
    json_string(&j, "gemm", c->model->gemm);
    json_string(&j, "precision", c->model->precision);
    json_integer(&j, "threads", n_threads);
    json_integer(&j, "prompt_tokens", c->reference->n_prompt);
    json_integer(&j, "generated_tokens", c->reference->n_generated);
    json_integer(&j, "rows", c->n_rows);
    json_tokens(&j, c);
    json_difference(&j, c, Q_LOGITS, 0);
    json_distributions(&j, &c->distributions);
    size_t layer;
    enum quantity q;
    if (comparison_begins(c, o->tolerance, &layer, &q)) {
        json_open(&j, "begins", '{');
        json_integer(&j, "layer", layer);
        json_string(&j, "quantity", quantity_names[q]);
        json_close(&j, '}');
    }
    json_open(&j, "layers", '[');
    for (size_t l = 0; l < c->reference->n_layers; l++) {
        json_open(&j, NULL, '{');
        json_integer(&j, "layer", l);
        for (int i = 0; i < Q_LOGITS; i++) json_difference(&j, c, (enum quantity)i, l);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
}

int main(int argc, char **argv) {
    signals_install();
    struct compare_options o;
    read_options(&o, argc, argv);
    output_open(&out);
    char *path = model_path(o.model);
    moe_model *model;
    moe_error err = {{0}};
    moe_model_options options = {.isa = o.isa,
                                 .gemm = o.gemm,
                                 .precision = o.precision,
                                 .weights = o.weights,
                                 .n_threads = o.n_threads};
    if (moe_model_open(&model, path, &options, &err) != MOE_OK) die(STATUS_FAILED, "%s", err.message);
    struct reference reference;
    reference_open(&reference, o.dump, model);
    struct comparison c;
    size_t n_threads = o.n_threads;
    comparison_run(&c, model, &reference, o.batch_size, &n_threads);
    if (o.json) print_json(&c, &o, n_threads);
    if (!o.json) print_table(&c, &o, n_threads);
    output_close(&out);
    bool is_exact = c.n_equal == c.n_tokens;
    comparison_free(&c);
    reference_close(&reference);
    moe_model_close(model);
    free(path);
    return is_exact ? STATUS_DONE : STATUS_FAILED;
}
