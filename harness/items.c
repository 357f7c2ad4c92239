#include "harness/items.h"

#include <math.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cpu/attend.h"

/* ---- speeds --------------------------------------------------------------------------------- */

/* Sustained GFLOP/s of one core, for estimates alone: of attention and of float64 references. */
static double core_gflops(const sb_attend_kernel *kernel)
{
    const char *isa = kernel->isa;
    return strcmp(isa, "amx") == 0      ? 600
           : strcmp(isa, "avx512") == 0 ? 60
           : strcmp(isa, "avx2") == 0   ? 30
                                        : 8;
}

static const double core_reference_gflops = 12;

/* Half of the tensor cores' peak, and of the smaller devices that have it unknown, little. */
static double device_gflops(const sb_cuda_device *device)
{
    double peak = sb_device_peak_gflops(device);
    return isfinite(peak) ? peak / 2 : 5e4;
}

sb_rates sb_rates_nominal(void)
{
    enum { CORES = 8 };
    return (sb_rates){.flops = {[SB_CPU] = 60e9 * CORES, [SB_CUDA] = 3e14},
                      .reference_flops = core_reference_gflops * 1e9 * CORES};
}

sb_rates sb_rates_here(const sb_sweep *sweep, const sb_backends *backends, int n_threads)
{
    const sb_problem problem = sb_sweep_problem(sweep, 0);
    const sb_attend_kernel *kernel = sb_cpu_kernel_for(&problem, SB_DENSE_TILE);
    return (sb_rates){.flops = {[SB_CPU] = core_gflops(kernel) * 1e9 * n_threads,
                                [SB_CUDA] = device_gflops(&backends->device) * 1e9},
                      .reference_flops = core_reference_gflops * 1e9 * n_threads};
}

/* ---- items ---------------------------------------------------------------------------------- */

static const double record_s = 1e-3; /* to select where nothing is measured, and to store */

/* Timing goes on for min_time at least. */
static double cell_seconds(const sb_latency_options *latency, const sb_estimate *e, double rate)
{
    double sampled = (double)latency->min_samples * e->attend_flops / rate;
    double waits = latency->enabled ? fmax(0, latency->min_time_s - sampled) : 0;
    return e->work_flops / rate + waits + record_s;
}

/* With sampled rows every length has a reference of its own. */
static int64_t reference_group(const sb_sweep *sweep, int64_t shape)
{
    int64_t first = shape;
    while (sweep->cfg->measure.fidelity_rows == 0 && first > 0 &&
           sb_same_layer(&sweep->shapes[first - 1], &sweep->shapes[shape]))
        first--;
    return first;
}

static sb_item *add_items(const sb_sweep *sweep, int64_t shape, sb_backend backend,
                          const sb_rates *rates, sb_item *next)
{
    const sb_config *cfg = sweep->cfg;
    const sb_latency_options *latency = &cfg->measure.latency;
    double work = 0, rate = rates->flops[backend];
    sb_item begun = {.shape = shape,
                     .layer = reference_group(sweep, shape),
                     .reference_s = sb_estimate_reference(sweep, shape) / rates->reference_flops};
    for (int64_t v = 0; v < cfg->n_variants; v++) {
        bool joins = latency->enabled && v > 0 && sb_bundle_takes(next[-1].n, work, backend);
        if (!joins) {
            *next++ = begun;
            next[-1].first = v;
            work = 0;
        }
        sb_estimate e = sb_estimate_cell(sweep, shape, v);
        work += e.work_flops;
        next[-1].n++;
        next[-1].seconds += cell_seconds(latency, &e, rate);
    }
    return next;
}

sb_status sb_items_make(const sb_sweep *sweep, const sb_backends *backends, const sb_rates *rates,
                        sb_item **items, int64_t *n, sb_err *err)
{
    *items = sb_alloc(sweep->n_cells, sizeof **items);
    if (!*items)
        return sb_no_memory(err, "the sweep's work");
    sb_item *end = *items;
    for (int64_t s = 0; s < sweep->n_shapes; s++)
        end = add_items(sweep, s, sb_backend_for(backends, sweep->shapes[s].dtype), rates, end);
    *n = end - *items;
    return SB_OK;
}

/* ---- loads ---------------------------------------------------------------------------------- */

static double reference_known(const sb_load *load, const sb_item *item)
{
    return load->layer == item->layer ? load->reference_s : 0;
}

double sb_load_added(const sb_load *load, const sb_item *item)
{
    return item->seconds + fmax(0, item->reference_s - reference_known(load, item));
}

void sb_load_add(sb_load *load, const sb_item *item)
{
    load->seconds += sb_load_added(load, item);
    load->reference_s = fmax(item->reference_s, reference_known(load, item));
    load->layer = item->layer;
}

double sb_items_seconds(const sb_item *items, int64_t n)
{
    sb_load load = {.layer = -1};
    for (int64_t i = 0; i < n; i++)
        sb_load_add(&load, &items[i]);
    return load.seconds;
}
