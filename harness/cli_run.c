#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/cli.h"
#include "harness/items.h"
#include "harness/mem.h"
#include "harness/parts.h"
#include "harness/results.h"
#include "harness/run.h"
#include "harness/shard.h"
#include "harness/table.h"
#include "methods/kernels/cpu/attend.h"

/* ---- run ----------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_asked;

/* The second signal ends the process at once: whatever is finished is durable already. */
static void ask_to_stop(int signal_number)
{
    stop_asked = 1;
    sb_starts_forgive();
    (void)signal(signal_number, SIG_DFL);
}

static sb_status load(const sb_args *args, sb_config *cfg, sb_backends *backends, sb_err *err)
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

static sb_status print_results(const char *dir, const sb_run_summary *s, sb_err *err)
{
    sb_record *records = NULL;
    char **parts = NULL;
    int64_t n = 0, n_parts = 0;
    sb_status st = SB_OK;
    SB_TRY(sb_results_read(dir, &records, &n, err));
    SB_TRY(sb_table_print(records, n, err));
    SB_TRY(sb_parts_list(dir, &parts, &n_parts, err));
    printf("\n%" PRId64 " cells (%" PRId64 " computed before, %" PRId64 " failed, %" PRId64
           " unsupported): %s/results.csv, results.h5\n",
           s->n_cells, s->n_reused, s->n_failed, s->n_unsupported, dir);
    if (n_parts > 0)
        printf("%" PRId64 " parts hold more of them: stembench merge %s\n", n_parts, dir);
    printf("plots: stembench plot %s\nreport: stembench report %s\n", dir, dir);
out:
    sb_parts_free(parts, n_parts);
    sb_records_free(records, n);
    return st;
}

static void print_shard(const char *dir, sb_shard shard, const sb_run_summary *s)
{
    printf("shard %" PRId64 "/%" PRId64 ": %" PRId64 " cells (%" PRId64 " computed before, %" PRId64
           " failed, %" PRId64 " unsupported)\nwhen all shards are done: stembench merge %s\n",
           shard.i, shard.n, s->n_cells, s->n_reused, s->n_failed, s->n_unsupported, dir);
}

/* What --shard asks for, and the name of its part. */
static sb_status read_shard(const sb_args *args, sb_shard *shard, char **part, sb_err *err)
{
    sb_status st = SB_OK;
    *shard = (sb_shard){0};
    *part = NULL;
    if (!args->shard)
        return SB_OK;
    SB_TRY(sb_shard_parse(args->shard, shard, err));
    SB_CHECK(!args->fresh, err, SB_USAGE,
             "--fresh would remove what other shards compute; remove the run directory instead");
    *part = sb_sprintf("shard-%" PRId64 "-of-%" PRId64, shard->i, shard->n);
    SB_CHECK(*part, err, SB_NO_MEMORY, "out of memory for a name");
out:
    return st;
}

static void catch_signals(void)
{
    (void)signal(SIGINT, ask_to_stop);
    (void)signal(SIGTERM, ask_to_stop);
    (void)signal(SIGXFSZ, SIG_IGN); /* a full quota is an error that write() reports */
    (void)signal(SIGPIPE, SIG_IGN);
}

sb_status sb_cmd_run(const sb_args *args, sb_err *err)
{
    sb_config cfg;
    sb_sweep sweep = {0};
    sb_backends backends;
    sb_run_summary summary;
    sb_shard shard;
    char *dir = NULL, *part = NULL;
    sb_status st = load(args, &cfg, &backends, err);
    if (st != SB_OK)
        return st;
    SB_TRY(read_shard(args, &shard, &part, err));
    SB_TRY(sb_sweep_open(&cfg, &sweep, err));
    dir = args->out ? sb_strdup(args->out) : sb_sprintf("results/%s", cfg.name);
    SB_CHECK(dir, err, SB_NO_MEMORY, "out of memory for a path");
    catch_signals();
    const sb_run_options options = {.out_dir = dir,
                                    .backends = &backends,
                                    .n_threads = sb_threads_of(args),
                                    .fresh = args->fresh,
                                    .quiet = args->quiet,
                                    .retry = args->retry,
                                    .part = part};
    st = sb_run(&sweep, &options, shard, &stop_asked, &summary, err);
    if (st == SB_INTERRUPTED)
        (void)snprintf(err->msg, sizeof err->msg,
                       "interrupted; finished cells are in %.300s, the same command continues",
                       dir);
    if (st == SB_OK && part)
        print_shard(dir, shard, &summary);
    else if (st == SB_OK)
        st = print_results(dir, &summary, err);
out:
    sb_free(part);
    sb_free(dir);
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
    return st;
}

/* ---- check --------------------------------------------------------------------------------- */

static void print_duration(double seconds)
{
    if (seconds < 60)
        printf("%.0f s", ceil(seconds));
    else if (seconds < 3600)
        printf("%.0f min", ceil(seconds / 60));
    else if (seconds < 48 * 3600)
        printf("%.1f h", seconds / 3600);
    else
        printf("%.1f days", seconds / 86400);
}

static void print_axes(const sb_sweep *sweep)
{
    const sb_config *cfg = sweep->cfg;
    printf("%s: %" PRId64 " cells = %" PRId64 " shapes x %" PRId64 " settings\n", cfg->name,
           sweep->n_cells, sweep->n_shapes, cfg->n_variants);
    for (int64_t c = 0; c < cfg->n_captures; c++) {
        const sb_capture *cap = &sweep->captures[c];
        printf("  %s: %s, %" PRId64 " layers of %" PRId64 " tokens\n", cap->path, cap->model,
               cap->n_layers, cap->tokens);
    }
    int64_t first = 0;
    for (int64_t v = 1; v <= cfg->n_variants; v++) {
        if (v < cfg->n_variants && cfg->variants[v].method == cfg->variants[first].method)
            continue;
        printf("  %-12s %" PRId64 " settings\n", cfg->variants[first].method->name, v - first);
        first = v;
    }
}

static void print_work(const sb_sweep *sweep, double reference_flops)
{
    double attend = 0, work = 0, lowest = INFINITY, highest = 0;
    int64_t n = sweep->cfg->n_variants;
    for (int64_t i = 0; i < sweep->n_cells; i++) {
        sb_estimate e = sb_estimate_cell(sweep, i / n, i % n);
        attend += e.attend_flops;
        work += e.work_flops;
        lowest = fmin(lowest, e.density);
        highest = fmax(highest, e.density);
    }
    printf("expected, not measured:\n  density   %.3f to %.3f\n", lowest, highest);
    printf("  FLOPs     %.3g once each, %.3g in all with repeats, %.3g for float64 references\n",
           attend, work, reference_flops);
}

static void print_memory(const sb_sweep *sweep, const sb_backends *backends, int n_threads)
{
    printf("  memory    %.2f GiB at the largest shape\n",
           sb_estimate_memory(sweep, n_threads) / 0x1p30);
    if (backends->cuda)
        printf("  device    %.2f GiB at the largest shape, %.2f GiB free\n",
               sb_estimate_device_memory(sweep) / 0x1p30,
               (double)backends->device.free_bytes / 0x1p30);
}

static void print_time(const sb_sweep *sweep, const sb_backends *backends, const sb_rates *rates,
                       int n_threads, double seconds)
{
    const sb_problem problem = sb_sweep_problem(sweep, 0);
    sb_backend backend = sb_backend_for(backends, problem.dtype);
    double gflops = rates->flops[backend] * 1e-9;
    printf("  time      ");
    print_duration(seconds);
    if (backend == SB_CUDA)
        printf(" on %s at %.0f GFLOP/s\n", backends->device.name, gflops);
    else
        printf(" on %d threads at %.0f GFLOP/s each (%s kernel)\n", n_threads, gflops / n_threads,
               sb_cpu_kernel_for(&problem, SB_DENSE_TILE)->name);
}

/* What the slowest of n shards takes; they are made by nominal costs, the same on every machine. */
static sb_status print_shards(const sb_sweep *sweep, const sb_backends *backends,
                              const sb_item *items, int64_t n_items, int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    const sb_rates rates = sb_rates_nominal();
    sb_item *nominal = NULL;
    int64_t n_nominal, n_idle = 0;
    double longest = 0, all = 0;
    int32_t *of_item = sb_alloc(n_items, sizeof *of_item);
    double *seconds = sb_alloc(n, sizeof *seconds);
    SB_CHECK(of_item && seconds, err, SB_NO_MEMORY, "out of memory for the shards");
    SB_TRY(sb_items_make(sweep, backends, &rates, &nominal, &n_nominal, err));
    SB_TRY(sb_shard_assign(nominal, n_items, n, of_item, err));
    SB_TRY(sb_shard_seconds(items, n_items, of_item, n, seconds, err));
    for (int64_t i = 0; i < n; i++) {
        longest = fmax(longest, seconds[i]);
        all += seconds[i];
        n_idle += seconds[i] <= 0;
    }
    printf("  shards    %" PRId64 " of them: ", n);
    print_duration(longest);
    printf(" for the longest, %.0f %% busy", longest > 0 ? 100 * all / (longest * (double)n) : 100);
    if (n_idle > 0)
        printf(", %" PRId64 " with nothing to do", n_idle);
    printf("\n");
out:
    sb_free(nominal);
    sb_free(seconds);
    sb_free(of_item);
    return st;
}

sb_status sb_cmd_check(const sb_args *args, sb_err *err)
{
    sb_config cfg;
    sb_sweep sweep = {0};
    sb_backends backends;
    sb_item *items = NULL;
    int64_t n = 0;
    double cells_s = 0;
    const int n_threads = sb_threads_of(args);
    sb_status st = load(args, &cfg, &backends, err);
    if (st != SB_OK)
        return st;
    SB_TRY(sb_sweep_open(&cfg, &sweep, err));
    const sb_rates rates = sb_rates_here(&sweep, &backends, n_threads);
    SB_TRY(sb_items_make(&sweep, &backends, &rates, &items, &n, err));
    for (int64_t i = 0; i < n; i++)
        cells_s += items[i].seconds;
    double seconds = sb_items_seconds(items, n);
    print_axes(&sweep);
    print_work(&sweep, (seconds - cells_s) * rates.reference_flops);
    print_memory(&sweep, &backends, n_threads);
    print_time(&sweep, &backends, &rates, n_threads, seconds);
    if (args->shards > 0)
        st = print_shards(&sweep, &backends, items, n, args->shards, err);
out:
    sb_free(items);
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
    return st;
}
