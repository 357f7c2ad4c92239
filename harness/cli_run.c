#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/cli.h"
#include "harness/mem.h"
#include "harness/results.h"
#include "harness/run.h"
#include "harness/table.h"
#include "methods/kernels/cpu/attend.h"

/* ---- run ----------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_asked;

/* The second signal ends the process at once: whatever is finished is durable already. */
static void ask_to_stop(int signal_number)
{
    stop_asked = 1;
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
    int64_t n = 0;
    sb_status st = sb_results_read(dir, &records, &n, err);
    if (st != SB_OK)
        return st;
    st = sb_table_print(records, n, err);
    printf("\n%" PRId64 " cells (%" PRId64 " computed before, %" PRId64 " failed, %" PRId64
           " unsupported): %s/results.csv, results.h5\nplots: stembench plot %s\n"
           "report: stembench report %s\n",
           s->n_cells, s->n_reused, s->n_failed, s->n_unsupported, dir, dir, dir);
    sb_records_free(records, n);
    return st;
}

sb_status sb_cmd_run(const sb_args *args, sb_err *err)
{
    sb_config cfg;
    sb_sweep sweep = {0};
    sb_backends backends;
    sb_run_summary summary;
    char *dir = NULL;
    sb_status st = load(args, &cfg, &backends, err);
    if (st != SB_OK)
        return st;
    SB_TRY(sb_sweep_open(&cfg, &sweep, err));
    dir = args->out ? sb_strdup(args->out) : sb_sprintf("results/%s", cfg.name);
    SB_CHECK(dir, err, SB_NO_MEMORY, "out of memory for a path");
    (void)signal(SIGINT, ask_to_stop);
    (void)signal(SIGTERM, ask_to_stop);
    (void)signal(SIGXFSZ, SIG_IGN); /* a full quota is an error that write() reports */
    (void)signal(SIGPIPE, SIG_IGN);
    sb_run_options options = {dir, &backends, sb_threads_of(args), args->fresh, args->quiet};
    st = sb_run(&sweep, &options, &stop_asked, &summary, err);
    if (st == SB_INTERRUPTED)
        (void)snprintf(err->msg, sizeof err->msg,
                       "interrupted; finished cells are in %.300s, the same command continues",
                       dir);
    if (st == SB_OK)
        st = print_results(dir, &summary, err);
out:
    sb_free(dir);
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
    return st;
}

/* ---- check --------------------------------------------------------------------------------- */

/* Sustained GFLOP/s that one core may be expected to reach, for estimates alone. */
static double expected_gflops(const sb_attend_kernel *kernel)
{
    const char *isa = kernel->isa;
    return strcmp(isa, "amx") == 0      ? 600
           : strcmp(isa, "avx512") == 0 ? 60
           : strcmp(isa, "avx2") == 0   ? 30
                                        : 8;
}

/* Half of the tensor cores' peak, and of the smaller devices that have it unknown, little. */
static double device_gflops(const sb_cuda_device *device)
{
    double peak = sb_device_peak_gflops(device);
    return isfinite(peak) ? peak / 2 : 5e4;
}

static const double reference_gflops = 12; /* of a core in float64, likewise */

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

sb_status sb_cmd_check(const sb_args *args, sb_err *err)
{
    sb_config cfg;
    sb_sweep sweep = {0};
    sb_backends backends;
    double attend = 0, work = 0, lowest = INFINITY, highest = 0, timed_s = 0;
    sb_status st = load(args, &cfg, &backends, err);
    if (st != SB_OK)
        return st;
    SB_TRY(sb_sweep_open(&cfg, &sweep, err));
    const sb_problem problem = sb_sweep_problem(&sweep, 0);
    const sb_attend_kernel *kernel = sb_cpu_kernel_for(&problem, SB_DENSE_TILE);
    bool on_device = sb_backend_for(&backends, problem.dtype) == SB_CUDA;
    double rate = on_device ? device_gflops(&backends.device) * 1e9
                            : expected_gflops(kernel) * 1e9 * sb_threads_of(args);
    const sb_latency_options *latency = &cfg.measure.latency;
    for (int64_t i = 0; i < sweep.n_cells; i++) {
        sb_estimate e = sb_estimate_cell(&sweep, i / cfg.n_variants, i % cfg.n_variants);
        attend += e.attend_flops;
        work += e.work_flops;
        lowest = fmin(lowest, e.density);
        highest = fmax(highest, e.density);
        /* Timing goes on for min_time at least. */
        double sampled = (double)latency->min_samples * e.attend_flops / rate;
        timed_s += latency->enabled ? fmax(0, latency->min_time_s - sampled) : 0;
    }
    double references = sb_estimate_references(&sweep);
    print_axes(&sweep);
    printf("expected, not measured:\n  density   %.3f to %.3f\n", lowest, highest);
    printf("  FLOPs     %.3g once each, %.3g in all with repeats, %.3g for float64 references\n",
           attend, work, references);
    printf("  memory    %.2f GiB at the largest shape\n",
           sb_estimate_memory(&sweep, sb_threads_of(args)) / 0x1p30);
    if (backends.cuda)
        printf("  device    %.2f GiB at the largest shape, %.2f GiB free\n",
               sb_estimate_device_memory(&sweep) / 0x1p30,
               (double)backends.device.free_bytes / 0x1p30);
    printf("  time      ");
    print_duration(work / rate + timed_s +
                   references / (reference_gflops * 1e9 * sb_threads_of(args)));
    if (on_device)
        printf(" on %s at %.0f GFLOP/s\n", backends.device.name, rate * 1e-9);
    else
        printf(" on %d threads at %.0f GFLOP/s each (%s kernel)\n", sb_threads_of(args),
               expected_gflops(kernel), kernel->name);
out:
    sb_sweep_close(&sweep);
    sb_config_free(&cfg);
    return st;
}
