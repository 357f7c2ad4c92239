#include "harness/latency.h"

#include <math.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/mem.h"
#include "harness/timing.h"
#include "methods/kernels/cpu/attend.h"
#include "methods/kernels/cpu/peak.h"
#include "methods/plan_cuda.h"

/* Everything that is timed together. */
typedef struct bundle {
    sb_contender contenders[SB_MAX_BUNDLE + 2];
    int64_t n, of_cell[SB_MAX_BUNDLE];
    int64_t own, cudnn; /* the dense baselines among them, or -1 */
    sb_plan *own_plan, *cudnn_plan;
} bundle;

static double peak_of(sb_peaks *peaks, const sb_plan *plan)
{
    int i = 0;
    if (plan->exec.backend == SB_CUDA)
        return sb_device_peak_gflops(peaks->device);
    if (!plan->kernel)
        return NAN;
    const char *isa = plan->kernel->isa;
    while (i < SB_MAX_UNITS - 1 && peaks->cpu[i].isa && strcmp(peaks->cpu[i].isa, isa) != 0)
        i++;
    if (!peaks->cpu[i].isa) {
        peaks->cpu[i].isa = isa;
        peaks->cpu[i].gflops = sb_cpu_peak_gflops(isa, plan->exec.n_threads);
    }
    return peaks->cpu[i].gflops;
}

/* ---- what is timed ------------------------------------------------------------------------- */

static void bundle_close(bundle *b)
{
    for (int64_t i = 0; i < b->n; i++)
        sb_contender_free_samples(&b->contenders[i]);
    sb_plan_destroy(b->cudnn_plan);
    sb_plan_destroy(b->own_plan);
}

/* On the device a baseline may be missing: cuDNN, or one that does not take the shape. */
static sb_status add_dense(bundle *b, const sb_method *method, const sb_shape_data *data,
                           sb_plan **plan, int64_t *at, sb_err *err)
{
    sb_err why = {0};
    sb_status st = sb_plan_create(method, &data->problem, &data->exec, NULL, plan, &why);
    if (st != SB_OK)
        return data->device && st != SB_NO_MEMORY ? SB_OK : sb_fail(err, st, "%s", why.msg);
    *at = b->n;
    b->contenders[b->n++] = (sb_contender){.plan = *plan};
    return SB_OK;
}

static sb_status bundle_open(bundle *b, sb_cell *cells, int64_t n, const sb_shape_data *data,
                             sb_err *err)
{
    sb_status st = SB_OK;
    *b = (bundle){.own = -1, .cudnn = -1};
    for (int64_t i = 0; i < n; i++) {
        b->of_cell[i] = cells[i].plan ? b->n : -1;
        if (!cells[i].plan)
            continue;
        if (!cells[i].plan->method->select)
            b->own = b->n;
        b->contenders[b->n++] = (sb_contender){
            .plan = cells[i].plan, .pat = cells[i].has_pattern ? &cells[i].pattern : NULL};
    }
    if (b->n == 0)
        return SB_OK;
    if (b->own < 0)
        SB_TRY(add_dense(b, &sb_method_dense, data, &b->own_plan, &b->own, err));
    if (data->device)
        SB_TRY(add_dense(b, &sb_cudnn_dense, data, &b->cudnn_plan, &b->cudnn, err));
out:
    return st;
}

/* ---- what is kept -------------------------------------------------------------------------- */

static sb_status median_of(const double *samples, int64_t n, double *median, double *lo, double *hi,
                           sb_err *err)
{
    double *copy = sb_alloc_uninit(n, sizeof *copy);
    if (!copy)
        return sb_no_memory(err, "latency samples");
    if (n > 0)
        memcpy(copy, samples, (size_t)n * sizeof *copy);
    *median = sb_median(copy, n);
    if (lo)
        sb_median_interval(copy, n, lo, hi);
    sb_free(copy);
    return SB_OK;
}

/* The baselines of a bundle: their medians, and which is the faster. */
static sb_status keep_dense(const bundle *b, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    const struct {
        int64_t at;
        enum sb_series_id series;
        double *ms;
    } baselines[] = {{b->own, SB_SERIES_OWN_DENSE_MS, &r->own_dense_ms},
                     {b->cudnn, SB_SERIES_CUDNN_MS, &r->cudnn_ms}};
    for (int i = 0; i < 2; i++) {
        const sb_contender *c = baselines[i].at < 0 ? NULL : &b->contenders[baselines[i].at];
        if (!c || c->failure.status != SB_OK)
            continue;
        double ms;
        SB_TRY(median_of(c->total_ms, c->n, &ms, NULL, NULL, err));
        *baselines[i].ms = ms;
        if (c->plan->exec.backend == SB_CUDA)
            SB_TRY(sb_record_series(r, baselines[i].series, c->total_ms, c->n, err));
        if (!(ms < r->dense_ms) && !isnan(r->dense_ms))
            continue;
        r->dense_ms = ms;
        SB_TRY(sb_record_series(r, SB_SERIES_DENSE_MS, c->total_ms, c->n, err));
        SB_TRY(sb_record_set(&r->dense_kernel, c->plan->kernel_name, err));
    }
out:
    return st;
}

static sb_status keep_latency(const bundle *b, const sb_contender *c, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    const struct {
        enum sb_series_id series;
        const double *samples;
        double *median, *lo, *hi;
    } kept[] = {{SB_SERIES_SELECT_MS, c->select_ms, &r->select_ms, NULL, NULL},
                {SB_SERIES_ATTEND_MS, c->attend_ms, &r->attend_ms, NULL, NULL},
                {SB_SERIES_TOTAL_MS, c->total_ms, &r->total_ms, &r->total_ms_lo, &r->total_ms_hi}};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        SB_TRY(sb_record_series(r, kept[i].series, kept[i].samples, c->n, err));
        SB_TRY(median_of(kept[i].samples, c->n, kept[i].median, kept[i].lo, kept[i].hi, err));
    }
    if (c->plan->exec.backend == SB_CUDA) {
        SB_TRY(sb_record_series(r, SB_SERIES_SM_MHZ, c->sm_mhz, c->n, err));
        SB_TRY(sb_record_series(r, SB_SERIES_WATTS, c->watts, c->n, err));
        SB_TRY(sb_record_series(r, SB_SERIES_CELSIUS, c->celsius, c->n, err));
    }
    SB_TRY(keep_dense(b, r, err));
    SB_TRY(sb_record_set(&r->timing, sb_stop_name(c->stop), err));
    r->samples = c->n;
    r->throttled = c->n_throttled;
    r->speedup = r->dense_ms / r->total_ms;
    r->conversion = r->speedup * r->density;
out:
    return st;
}

static sb_status take_samples(bundle *b, const sb_shape_data *data,
                              const sb_latency_options *options, sb_err *err)
{
    if (!data->device)
        return sb_time_interleaved(b->contenders, b->n, &data->problem, &data->inputs, options,
                                   data->stop, err);
    sb_err why = {0};
    sb_status st = sb_time_on_device(b->contenders, b->n, data->device, options, data->stop, &why);
    if (st == SB_NO_MEMORY || st == SB_INTERRUPTED)
        return sb_fail(err, st, "%s", why.msg);
    /* The clock itself could not be set up: so it is with every contender. */
    for (int64_t i = 0; st != SB_OK && i < b->n; i++)
        b->contenders[i].failure = why;
    return SB_OK;
}

sb_status sb_bundle_time(sb_cell *cells, int64_t n, const sb_shape_data *data,
                         const sb_latency_options *options, sb_peaks *peaks, sb_err *err)
{
    bundle b;
    sb_status st = SB_OK;
    SB_TRY(bundle_open(&b, cells, n, data, err));
    if (b.n > 0)
        SB_TRY(take_samples(&b, data, options, err));
    for (int64_t i = 0; i < n; i++) {
        if (b.of_cell[i] < 0)
            continue;
        const sb_contender *c = &b.contenders[b.of_cell[i]];
        if (c->failure.status != SB_OK) {
            SB_TRY(sb_cell_fail(&cells[i], &c->failure, err));
            continue;
        }
        SB_TRY(keep_latency(&b, c, &cells[i].record, err));
        cells[i].record.peak_gflops = peak_of(peaks, cells[i].plan);
    }
out:
    bundle_close(&b);
    return st;
}
