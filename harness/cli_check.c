#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/cli.h"
#include "harness/items.h"
#include "harness/mem.h"
#include "harness/shard.h"
#include "harness/simulate.h"
#include "methods/kernels/cpu/attend.h"

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

/* Seconds to read a shape's inputs: a process reads and inflates about 100 MB of them a second, as
 * measured with `stembench inspect --out` and the shipped capture. */
static double reading_seconds(const sb_sweep *sweep, int64_t shape)
{
    const sb_problem p = sb_sweep_problem(sweep, shape);
    int64_t n = p.n_heads * p.q_len * p.dim + p.n_kv_heads * p.kv_len * (p.dim + p.dim_v);
    return (double)n * (double)sb_dtype_bytes(p.dtype) / 100e6;
}

/* What n MPI ranks take, each with these threads; one hands out, where there are more. */
static sb_status print_ranks(const sb_sweep *sweep, const sb_item *items, int64_t n_items,
                             int64_t n, sb_err *err)
{
    sb_status st = SB_OK;
    sb_simulated run;
    double *hold_s = sb_alloc(sweep->n_shapes, sizeof *hold_s);
    SB_CHECK(hold_s, err, SB_NO_MEMORY, "out of memory for the ranks");
    for (int64_t s = 0; s < sweep->n_shapes; s++)
        hold_s[s] = reading_seconds(sweep, s);
    sb_handout_costs costs = {.hold_s = hold_s};
    if (n > 1) {
        costs.hand_out_s = 10e-6; /* as scripts/bench_ranks.sh measures them on one host */
        costs.reply_s = 300e-6;
    }
    SB_TRY(sb_simulate(items, n_items, n > 1 ? n - 1 : 1, &costs, &run, err));
    printf("  ranks     %" PRId64 ": ", n);
    print_duration(run.wall_s);
    printf(", %.0f %% busy\n", 100 * run.busy);
out:
    sb_free(hold_s);
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
    sb_status st = sb_load_experiment(args, &cfg, &backends, err);
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
        SB_TRY(print_shards(&sweep, &backends, items, n, args->shards, err));
    if (args->ranks > 0)
        SB_TRY(print_ranks(&sweep, items, n, args->ranks, err));
out:
    sb_free(items);
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
    return st;
}
