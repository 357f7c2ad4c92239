#include "harness/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/config.h"
#include "harness/mem.h"
#include "harness/plot.h"
#include "harness/provenance.h"
#include "harness/report.h"
#include "harness/shard.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/method.h"

typedef struct command {
    const char *name;
    sb_status (*run)(const sb_args *args, sb_err *err);
    int min_operands, max_operands;
    const char *usage; /* after "stembench NAME " */
    const char *doc;
    const char *options; /* its own, a line each */
} command;

static const command commands[] = {
    {"run", sb_cmd_run, 1, 1, "CONFIG.yaml [options]",
     "run every cell of an experiment that its run directory does not hold yet",
     "  --out DIR        run directory (default: results/NAME, NAME as in the config)\n"
     "  --set KEY=VALUE  override the config: lengths=[2048], stem.mu=0.5, measure.latency=false\n"
     "  --backend B      cpu, cuda or auto\n"
     "  --isa LEVEL      highest instruction set for kernels: x86-64, avx2, avx512 or amx\n"
     "                   (default: the best that this machine has)\n"
     "  --threads N      CPU threads (default: all cores this process may use)\n"
     "  --shard I/N      the I-th of N shares of the cells, into a part of the run directory;\n"
     "                   stembench merge takes the parts together\n"
     "  --retry          run failed cells again\n"
     "  --fresh          remove the run directory's results first\n"
     "  --quiet          no progress\n"},
    {"check", sb_cmd_check, 1, 1, "CONFIG.yaml [options]",
     "validate a config, expand it and estimate its cost; computes nothing",
     "  --set KEY=VALUE  override the config\n"
     "  --backend B      cpu, cuda or auto\n"
     "  --isa LEVEL      highest instruction set to estimate for\n"
     "  --threads N      CPU threads to estimate for\n"
     "  --shards N       estimate for N machines like this one, too\n"
     "  --ranks R        estimate for R ranks under MPI, each with these threads, too\n"},
    {"merge", sb_cmd_merge, 1, 1, "RUN_DIR [options]",
     "take the parts of a run that was shared among processes into one results.h5",
     "  --force          also where cells are missing\n"
     "Checks that the parts agree on config, data and build; names what is missing and exits\n"
     "with 1.\n"},
    {"inspect", sb_cmd_inspect, 1, 1, "CAPTURE.h5 [--layer L --out PREFIX [options]]",
     "show a capture: shapes, dtype, model, layers, text, digest, statistics; or write a layer raw",
     "  --out PREFIX     write a layer to PREFIX.q, .k and .v instead: [head, token, dim], no "
     "header\n"
     "  --layer L        the layer\n"
     "  --tokens N       prefix of the capture (default: all of it)\n"
     "  --dtype T        f32, bf16 or f16, in this machine's byte order (bf16)\n"},
    {"methods", sb_cmd_methods, 0, 1, "[NAME]",
     "list the methods, or one with its parameters, ranges, defaults and sources", ""},
    {"synth", sb_cmd_synth, 0, 0, "--out FILE.h5 [options]",
     "write a synthetic capture with known structure: sinks, locality, needles",
     "  --out FILE.h5    file to write\n"
     "  --tokens N       tokens (8192)\n"
     "  --heads H        query heads (8)\n"
     "  --kv-heads H     key and value heads (2)\n"
     "  --dim D          head dimension (64)\n"
     "  --dim-v D        value dimension (as --dim)\n"
     "  --layers L       layers (2)\n"
     "  --sinks N        first tokens that every query attends to (4)\n"
     "  --needles N      planted (query range, key) pairs (8)\n"
     "  --dtype T        f32, bf16 or f16 (bf16)\n"
     "  --seed S         seed (1)\n"
     "  --compress L     deflate level, 0 to 9 (4)\n"},
    {"mask", sb_cmd_mask, 1, 1, "CAPTURE.h5 --layer L --method NAME --out MASK.h5 [options]",
     "write the pattern that a method selects: row_ptr, col, attributes",
     "  --layer L        layer of the capture\n"
     "  --method NAME    method\n"
     "  --out MASK.h5    file to write\n"
     "  --set KEY=VALUE  a parameter of the method\n"
     "  --tokens N       prefix of the capture (default: all of it)\n"
     "  --dtype T        f32, bf16 or f16: what Q, K and V are rounded to (bf16)\n"
     "  --isa LEVEL      highest instruction set: x86-64, avx2, avx512 or amx\n"
     "  --threads N      CPU threads\n"},
    {"plot", sb_cmd_plot, 1, 1, "RUN_DIR [options]",
     "draw every plot that a run's results allow into RUN_DIR/plots",
     "  --format F       svg, png or pdf (svg)\n"
     "  --vs RUN_DIR     draw the curves of this run too, dashed, into RUN_DIR/plots/vs-NAME\n"
     "  --quiet          do not list the plots\n"},
    {"report", sb_cmd_report, 1, 1, "RUN_DIR [options]",
     "write a run as one HTML file: summary, plots, patterns, records, provenance",
     "  --out FILE.html  file to write (RUN_DIR/report.html)\n"
     "  --threads N      CPU threads, to select the patterns of single heads again\n"},
    {"compare", sb_cmd_compare, 2, 2, "BASELINE CANDIDATE [options]",
     "compare two run directories; exit 1 when the candidate is worse or a gate fails",
     "  --gate GATE.yaml judge by these gates instead of the built-in tolerances\n"
     "  --format F       text, markdown or junit (text)\n"
     "  --where COL=GLOB compare these cells alone: layer=2, tokens=[2048,8192], params=mu=0.7\n"
     "  --force          compare times across machines\n"
     "Without gates a cell is worse when its pattern differs at all, or a fidelity column is\n"
     "worse by more than kernels differ (multiples of impl_rel_l2). Missing and newly failed\n"
     "cells fail in any case, latency where a gate says so.\n"},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

/* ---- options ------------------------------------------------------------------------------- */

enum { OPT_FRESH = 256, OPT_QUIET, OPT_FORCE, OPT_RETRY, OPT_HELP, OPT_SET, OPT_TEXT, OPT_NUMBER };

typedef struct text_option {
    const char *name;
    const char **value;
} text_option;

typedef struct number_option {
    const char *name;
    int64_t *value;
    int64_t min, max;
} number_option;

static sb_status parse_whole(const char *name, const char *text, int64_t min, int64_t max,
                             int64_t *value, sb_err *err)
{
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (errno || end == text || *end || x < min || x > max)
        return sb_fail(err, SB_USAGE,
                       "--%s is '%.40s'; expected a whole number from %" PRId64 " to %" PRId64,
                       name, text, min, max);
    *value = x;
    return SB_OK;
}

/* Options that a command's help does not name are not its own. */
static bool takes(const command *cmd, const char *option)
{
    char needle[32];
    (void)snprintf(needle, sizeof needle, "--%s ", option);
    return strcmp(option, "help") == 0 || strstr(cmd->options, needle) != NULL;
}

static sb_status unknown_option(const command *cmd, const char *word, sb_err *err)
{
    return sb_fail(err, SB_USAGE, "unknown option '%.60s'; see: stembench %s --help", word,
                   cmd->name);
}

static sb_status parse_args(const command *cmd, int argc, char **argv, sb_args *args, sb_err *err)
{
    const text_option texts[] = {{"out", &args->out},
                                 {"backend", &args->backend},
                                 {"method", &args->method},
                                 {"format", &args->format},
                                 {"dtype", &args->dtype},
                                 {"isa", &args->isa},
                                 {"gate", &args->gate},
                                 {"vs", &args->vs},
                                 {"shard", &args->shard},
                                 {"set", NULL},
                                 {"where", NULL}};
    const number_option numbers[] = {{"threads", &args->threads, 1, 1024},
                                     {"layer", &args->layer, 0, 1 << 20},
                                     {"tokens", &args->tokens, 1, 1 << 27},
                                     {"heads", &args->heads, 1, 4096},
                                     {"kv-heads", &args->kv_heads, 1, 4096},
                                     {"dim", &args->dim, 1, 4096},
                                     {"dim-v", &args->dim_v, 1, 4096},
                                     {"layers", &args->layers, 1, 1024},
                                     {"sinks", &args->sinks, 0, 1 << 20},
                                     {"needles", &args->needles, 0, 1024},
                                     {"seed", &args->seed, 0, INT64_MAX},
                                     {"compress", &args->compress, 0, 9},
                                     {"shards", &args->shards, 1, SB_MAX_SHARDS},
                                     {"ranks", &args->ranks, 1, 1 << 20}};
    enum {
        N_FLAGS = 5,
        N_TEXTS = sizeof texts / sizeof texts[0],
        N_NUMBERS = sizeof numbers / sizeof numbers[0]
    };
    struct option longs[N_FLAGS + N_TEXTS + N_NUMBERS + 1] = {
        {"fresh", no_argument, NULL, OPT_FRESH},
        {"quiet", no_argument, NULL, OPT_QUIET},
        {"force", no_argument, NULL, OPT_FORCE},
        {"retry", no_argument, NULL, OPT_RETRY},
        {"help", no_argument, NULL, OPT_HELP}};
    int n = N_FLAGS;
    for (int i = 0; i < N_TEXTS; i++)
        longs[n++] = (struct option){texts[i].name, required_argument, NULL, OPT_TEXT};
    for (int i = 0; i < N_NUMBERS; i++)
        longs[n++] = (struct option){numbers[i].name, required_argument, NULL, OPT_NUMBER};

    *args = (sb_args){0};
    for (int i = 0; i < N_NUMBERS; i++)
        *numbers[i].value = -1;
    opterr = 0;
    for (optind = 1;;) {
        int at = -1;
        int c = getopt_long(argc, argv, ":h", longs, &at);
        if (c == -1)
            break;
        if (c == ':')
            return sb_fail(err, SB_USAGE, "option '%.60s' needs a value", argv[optind - 1]);
        if (c == 'h' || c == OPT_HELP)
            args->help = true;
        else if (c == '?')
            return unknown_option(cmd, argv[optind - 1], err);
        else if (!takes(cmd, longs[at].name))
            return unknown_option(cmd, longs[at].name, err);
        else if (c == OPT_FRESH)
            args->fresh = true;
        else if (c == OPT_QUIET)
            args->quiet = true;
        else if (c == OPT_FORCE)
            args->force = true;
        else if (c == OPT_RETRY)
            args->retry = true;
        else if (c == OPT_TEXT && !texts[at - N_FLAGS].value) {
            if (args->n_sets == SB_MAX_SETS)
                return sb_fail(err, SB_USAGE, "more than %d --%s", SB_MAX_SETS, longs[at].name);
            args->sets[args->n_sets++] = optarg;
        } else if (c == OPT_TEXT) {
            *texts[at - N_FLAGS].value = optarg;
        } else {
            const number_option *o = &numbers[at - N_FLAGS - N_TEXTS];
            sb_status st = parse_whole(o->name, optarg, o->min, o->max, o->value, err);
            if (st != SB_OK)
                return st;
        }
    }
    for (; optind < argc; optind++) {
        if (args->n_operands == cmd->max_operands)
            return sb_fail(err, SB_USAGE, "unexpected argument '%.60s'; usage: stembench %s %s",
                           argv[optind], cmd->name, cmd->usage);
        args->operands[args->n_operands++] = argv[optind];
    }
    if (!args->help && args->n_operands < cmd->min_operands)
        return sb_fail(err, SB_USAGE, "missing argument; usage: stembench %s %s", cmd->name,
                       cmd->usage);
    return SB_OK;
}

int sb_threads_asked(const sb_args *args)
{
    const char *asked = getenv("OMP_NUM_THREADS");
    if (args->threads > 0)
        return (int)args->threads;
    return asked && atoi(asked) > 0 ? omp_get_max_threads() : 0;
}

int sb_threads_of(const sb_args *args)
{
    int asked = sb_threads_asked(args);
    return asked > 0 ? asked : sb_cores();
}

sb_status sb_limit_isa(const sb_args *args, sb_err *err)
{
    const char *max = getenv("STEMBENCH_ISA_MAX");
    if (args->isa)
        return sb_isa_limit(args->isa, err);
    if (max && !sb_isa_known(max))
        return sb_fail(err, SB_UNAVAILABLE,
                       "STEMBENCH_ISA_MAX is '%.40s'; expected amx, avx512, avx2 or x86-64", max);
    return SB_OK;
}

sb_status sb_load_experiment(const sb_args *args, sb_config *cfg, sb_backends *backends,
                             sb_err *err)
{
    sb_status st = sb_config_load(args->operands[0], args->sets, args->n_sets, cfg, err);
    if (st != SB_OK)
        return st;
    st = sb_backends_open(args->backend, cfg->backend, backends, err);
    if (st == SB_OK)
        st = sb_limit_isa(args, err);
    if (st != SB_OK)
        sb_config_free(cfg);
    return st;
}

/* ---- small commands ------------------------------------------------------------------------ */

static void print_method(const sb_method *m)
{
    printf("%s: %s\n  source: %s\n", m->name, m->doc, m->source);
    for (int i = 0; i < m->n_params; i++) {
        const sb_param *p = &m->params[i];
        char expected[128];
        sb_param_expected(p, expected, sizeof expected);
        printf("  %-22s %s; default", p->name, expected);
        for (int v = 0; v < SB_MAX_VARIANTS && p->fallback[v]; v++)
            printf("%s%s", v > 0 ? " | " : " ", p->fallback[v]);
        printf("\n  %-22s   %s\n", "", p->doc);
    }
}

sb_status sb_cmd_methods(const sb_args *args, sb_err *err)
{
    int n;
    const sb_method *const *all = sb_methods(&n);
    if (args->n_operands == 1) {
        const sb_method *m = sb_method_find(args->operands[0]);
        if (!m)
            return sb_fail(err, SB_USAGE, "no method '%.60s'; see: stembench methods",
                           args->operands[0]);
        print_method(m);
        return SB_OK;
    }
    for (int i = 0; i < n; i++)
        printf("%-12s %s\n%-12s   %s\n", all[i]->name, all[i]->doc, "", all[i]->source);
    printf("\nparameters of one: stembench methods NAME (defaults by variant, in its order)\n");
    return SB_OK;
}

sb_status sb_cmd_plot(const sb_args *args, sb_err *err)
{
    const char *format = args->format ? args->format : "svg";
    return args->vs ? sb_plot_versus(args->operands[0], args->vs, format, args->quiet, err)
                    : sb_plot_run(args->operands[0], format, args->quiet, err);
}

sb_status sb_cmd_report(const sb_args *args, sb_err *err)
{
    int64_t n_bytes = 0;
    const char *dir = args->operands[0];
    char *path = args->out ? sb_strdup(args->out) : sb_sprintf("%s/report.html", dir);
    if (!path)
        return sb_no_memory(err, "a path");
    sb_status st = sb_report_write(dir, path, sb_threads_of(args), &n_bytes, err);
    if (st == SB_OK)
        printf("wrote %s (%.1f MB)\n", path, (double)n_bytes / 1e6);
    sb_free(path);
    return st;
}

/* ---- the program --------------------------------------------------------------------------- */

static void print_help(void)
{
    printf("stembench: a benchmark of causal sparse attention on captured Q, K and V\n\n"
           "usage: stembench COMMAND [options]\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].doc);
    printf(
        "\nstembench COMMAND --help explains one; stembench --version\n"
        "exit codes: 0 done, 1 a gate failed or cells to merge are missing, 2 usage or config, 3 "
        "bad\n"
        "input data, 4 backend or hardware not there, 5 I/O or internal error, 130 interrupted\n");
}

static sb_status run_command(int argc, char **argv, sb_err *err)
{
    const command *cmd = NULL;
    const char *names[N_COMMANDS];
    sb_args args;
    for (int i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], commands[i].name) == 0)
            cmd = &commands[i];
    }
    if (!cmd) {
        const char *near = sb_nearest(argv[1], names, N_COMMANDS);
        return sb_fail(err, SB_USAGE, "no command '%.60s'%s%s%s; see: stembench --help", argv[1],
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    sb_status st = parse_args(cmd, argc - 1, argv + 1, &args, err);
    if (st != SB_OK)
        return st;
    if (args.help) {
        printf("stembench %s: %s\n\nusage: stembench %s %s\n%s", cmd->name, cmd->doc, cmd->name,
               cmd->usage, cmd->options);
        return SB_OK;
    }
    return cmd->run(&args, err);
}

int sb_main(int argc, char **argv)
{
    sb_err err = {0};
    if (argc < 2) {
        fprintf(stderr, "stembench: no command; see: stembench --help\n");
        return sb_exit_code(SB_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("stembench %s\n", sb_version());
        return 0;
    }
    sb_status st = run_command(argc, argv, &err);
    if (st == SB_OK && (fflush(stdout) != 0 || ferror(stdout)))
        st = sb_fail(&err, SB_IO, "standard output: %s", strerror(errno));
    if (st != SB_OK)
        fprintf(stderr, "stembench: %s\n", err.msg[0] ? err.msg : "failed");
    return sb_exit_code(st);
}
