#include "harness/cells.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/config_variants.h"
#include "harness/mem.h"
#include "harness/on_device.h"
#include "methods/kernels/cpu/attend.h"

/* ---- enumeration --------------------------------------------------------------------------- */

static int64_t n_layers_of(const sb_config *cfg, const sb_capture *cap)
{
    return cfg->n_layers ? cfg->n_layers : cap->n_layers;
}

static int64_t n_lengths_of(const sb_config *cfg)
{
    return cfg->n_lengths ? cfg->n_lengths : 1;
}

static sb_status check_capture(const sb_config *cfg, const sb_capture *cap, sb_err *err)
{
    for (int64_t i = 0; i < cfg->n_layers; i++)
        if (!sb_capture_layer(cap, cfg->layers[i]))
            return sb_fail(err, SB_USAGE,
                           "%s:%" PRId64 ":%" PRId64 ": layer %" PRId64
                           " is not in %s; expected one of its %" PRId64
                           " layers (see: stembench inspect)",
                           cfg->path, cfg->layers_line, cfg->layers_col, cfg->layers[i], cap->path,
                           cap->n_layers);
    for (int64_t i = 0; i < cfg->n_lengths; i++)
        if (cfg->lengths[i] > cap->tokens)
            return sb_fail(err, SB_USAGE,
                           "%s:%" PRId64 ":%" PRId64 ": length %" PRId64
                           " is beyond %s; expected at most its %" PRId64 " tokens",
                           cfg->path, cfg->lengths_line, cfg->lengths_col, cfg->lengths[i],
                           cap->path, cap->tokens);
    return SB_OK;
}

static void add_shapes(sb_sweep *sweep, int32_t capture)
{
    const sb_config *cfg = sweep->cfg;
    const sb_capture *cap = &sweep->captures[capture];
    for (int64_t t = 0; t < cfg->n_dtypes; t++)
        for (int64_t l = 0; l < n_layers_of(cfg, cap); l++)
            for (int64_t n = 0; n < n_lengths_of(cfg); n++)
                sweep->shapes[sweep->n_shapes++] = (sb_shape_cell){
                    capture, cfg->dtypes[t], cfg->n_layers ? cfg->layers[l] : cap->layers[l].index,
                    cfg->n_lengths ? cfg->lengths[n] : cap->tokens};
}

sb_status sb_sweep_open(const sb_config *cfg, sb_sweep *sweep, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_shapes = 0;
    *sweep = (sb_sweep){.cfg = cfg};
    sweep->captures = sb_alloc(cfg->n_captures, sizeof *sweep->captures);
    SB_CHECK(sweep->captures, err, SB_NO_MEMORY, "out of memory for captures");
    for (int64_t c = 0; c < cfg->n_captures; c++) {
        sb_capture *cap = &sweep->captures[c];
        SB_TRY(sb_capture_open(cfg->captures[c], cap, err));
        SB_TRY(check_capture(cfg, cap, err));
        n_shapes += cfg->n_dtypes * n_layers_of(cfg, cap) * n_lengths_of(cfg);
        SB_CHECK(n_shapes <= SB_MAX_CELLS / cfg->n_variants, err, SB_USAGE,
                 "%s: more than %d cells; expected fewer", cfg->path, SB_MAX_CELLS);
    }
    sweep->shapes = sb_alloc(n_shapes, sizeof *sweep->shapes);
    SB_CHECK(sweep->shapes, err, SB_NO_MEMORY, "out of memory for %" PRId64 " shapes", n_shapes);
    for (int32_t c = 0; c < cfg->n_captures; c++)
        add_shapes(sweep, c);
    sweep->n_cells = n_shapes * cfg->n_variants;
out:
    if (st != SB_OK)
        sb_sweep_close(sweep);
    return st;
}

void sb_sweep_close(sb_sweep *sweep)
{
    for (int64_t c = 0; sweep->captures && c < sweep->cfg->n_captures; c++)
        sb_capture_close(&sweep->captures[c]);
    sb_free(sweep->captures);
    sb_free(sweep->shapes);
    *sweep = (sb_sweep){0};
}

sb_problem sb_sweep_problem(const sb_sweep *sweep, int64_t shape)
{
    const sb_shape_cell *s = &sweep->shapes[shape];
    const sb_capture *cap = &sweep->captures[s->capture];
    return sb_capture_problem(cap, sb_capture_layer(cap, s->layer), s->tokens, s->dtype);
}

/* ---- estimates ----------------------------------------------------------------------------- */

/* A matched variant is expected to keep what its target does, whatever that is matched by. */
static double expected_density(const sb_config *cfg, const sb_variant *v, const sb_problem *p)
{
    if (v->target >= 0)
        v = &cfg->variants[v->target];
    int at = sb_param_index(v->method, "block");
    if (!v->method->expected_blocks || at < 0)
        return 1;
    double n = (double)sb_ceil_div(p->kv_len, (int64_t)v->values[at].num);
    return v->method->expected_blocks(p, v->values) / (n * (n + 1) / 2);
}

/* Runs of select and attend that a cell does: one for fidelity, those of warming up and timing. */
static double expected_runs(const sb_measure_options *m)
{
    return (m->fidelity ? 1 : 0) +
           (m->latency.enabled ? (double)(m->latency.warmup + 1 + m->latency.min_samples) : 0);
}

/* Of a dense attention: about eight selections to match by, each a twentieth or so. */
static const double match_work = 0.4;

sb_estimate sb_estimate_cell(const sb_sweep *sweep, int64_t shape, int64_t variant)
{
    const sb_config *cfg = sweep->cfg;
    const sb_problem p = sb_sweep_problem(sweep, shape);
    const sb_variant *v = &cfg->variants[variant];
    double n = (double)p.kv_len;
    double per_pair = 2 * (double)(p.dim + p.dim_v) * (double)p.n_heads;
    double density = expected_density(cfg, v, &p);
    sb_estimate e = {.density = density, .attend_flops = density * per_pair * n * (n + 1) / 2};
    e.work_flops = e.attend_flops * expected_runs(&cfg->measure);
    if (cfg->measure.fidelity)
        e.work_flops += density * per_pair * fmin(n, (double)cfg->measure.impl_rows) * n / 2;
    if (v->target >= 0)
        e.work_flops += match_work * per_pair * n * (n + 1) / 2;
    return e;
}

bool sb_bundle_takes(int64_t n, double work_flops, sb_backend backend)
{
    enum { MIN_BUNDLE = 4 };
    double while_flops = backend == SB_CUDA ? 1e16 : 4e12; /* beyond, it would take a while */
    return n < SB_MAX_BUNDLE && (n < MIN_BUNDLE || work_flops < while_flops);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* By the parameter that such methods share. */
static bool keeps_tokens(const sb_variant *v)
{
    char form[16];
    int at = sb_param_index(v->method, "form");
    if (at < 0)
        return false;
    (void)sb_value_format(&v->method->params[at], &v->values[at], form, sizeof form);
    return strcmp(form, "tokens") == 0;
}

/* What a planned cell holds: the kernel's scratch, the pattern, sums of key groups. */
static double plan_bytes(const sb_config *cfg, const sb_variant *v, const sb_problem *p,
                         int n_threads)
{
    int at_block = sb_param_index(v->method, "block");
    int at_stride = sb_param_index(v->method, "stride");
    int64_t block = at_block >= 0 ? (int64_t)v->values[at_block].num : SB_DENSE_TILE;
    const sb_attend_kernel *kernel = sb_cpu_kernel_for(p, block);
    double n = (double)sb_ceil_div(p->kv_len, block), heads = (double)p->n_heads;
    if (!v->method->select)
        return (double)kernel->scratch_bytes(p, kernel->dense_tile, n_threads);
    double kept = expected_density(cfg, v, p) * n * (n + 1) / 2;
    double groups = at_stride < 0 ? 0 : v->values[at_stride].num * n;
    size_t entry = sizeof(int32_t) + (keeps_tokens(v) ? sizeof(uint64_t) : 0);
    return (double)kernel->scratch_bytes(p, block, n_threads) +
           heads * (n * sizeof(int64_t) + kept * (double)entry) +
           groups * (double)(p->n_kv_heads * p->dim) * sizeof(float);
}

/* What a planned cell holds on the device: group sums of Q and K in three 16-bit parts and more,
 * scores of some heads at once, the lists. */
static double device_plan_bytes(const sb_config *cfg, const sb_variant *v, const sb_problem *p)
{
    static const double score_room = 0x1p28, sum_bytes = 8;
    int at_block = sb_param_index(v->method, "block");
    int at_stride = sb_param_index(v->method, "stride");
    if (!v->method->select || at_block < 0)
        return 0;
    double n = (double)sb_ceil_div(p->kv_len, (int64_t)v->values[at_block].num);
    double stride = at_stride < 0 ? 1 : v->values[at_stride].num, heads = (double)p->n_heads;
    double sums = n * stride * (heads + (double)p->n_kv_heads) * (double)p->dim * sum_bytes;
    return sums + fmin(heads * n * n * sizeof(float), score_room) +
           heads * expected_density(cfg, v, p) * n * (n + 1) / 2 * sizeof(int32_t);
}

static double planned_bytes(const sb_config *cfg, const sb_variant *v, const sb_problem *p,
                            int n_threads, sb_backend backend)
{
    return backend == SB_CUDA ? device_plan_bytes(cfg, v, p) : plan_bytes(cfg, v, p, n_threads);
}

/* The most that plans hold at once, with dense beside every bundle. */
static double bundle_bytes(const sb_sweep *sweep, int64_t shape, const sb_problem *p, int n_threads,
                           sb_backend backend)
{
    const sb_config *cfg = sweep->cfg;
    const sb_variant dense = {.method = &sb_method_dense, .target = -1};
    double most = 0, held = 0, work = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < cfg->n_variants; i++) {
        if (!cfg->measure.latency.enabled || !sb_bundle_takes(n, work, backend))
            held = work = 0, n = 0;
        held += planned_bytes(cfg, &cfg->variants[i], p, n_threads, backend);
        work += sb_estimate_cell(sweep, shape, i).work_flops;
        most = fmax(most, held);
        n++;
    }
    bool has_dense = false;
    for (int64_t i = 0; i < cfg->n_variants; i++)
        has_dense |= !cfg->variants[i].method->select;
    return most + (cfg->measure.latency.enabled && !has_dense
                       ? planned_bytes(cfg, &dense, p, n_threads, backend)
                       : 0);
}

static double shape_bytes(const sb_sweep *sweep, int64_t shape, int n_threads)
{
    const sb_measure_options *m = &sweep->cfg->measure;
    const sb_problem p = sb_sweep_problem(sweep, shape);
    double n = (double)p.kv_len, elem = (double)sb_dtype_bytes(p.dtype), heads = (double)p.n_heads;
    double kv_dims = (double)(p.n_kv_heads * (p.dim + p.dim_v));
    double inputs = n * (heads * (double)p.dim + kv_dims) * elem;
    double outputs = n * heads * ((double)p.dim_v * elem + sizeof(float));
    double rows = (double)m->fidelity_rows;
    rows = rows > 0 && rows < n ? rows : n;
    /* A reference of all rows is kept twice: the longest one, and this shape's part of it. */
    double reference =
        (rows < n ? 1 : 2) * rows * heads * ((double)p.dim_v * sizeof(float) + sizeof(double));
    double wide = n * (double)(p.dim + p.dim_v) * sizeof(double); /* a head's K and V in float64 */
    double copies = m->latency.enabled ? inputs + outputs : 0;
    return inputs + outputs + fmax(copies, m->fidelity ? wide : 0) + (m->fidelity ? reference : 0) +
           bundle_bytes(sweep, shape, &p, n_threads, SB_CPU);
}

double sb_estimate_memory(const sb_sweep *sweep, int n_threads)
{
    double most = 0;
    for (int64_t i = 0; i < sweep->n_shapes; i++)
        most = fmax(most, shape_bytes(sweep, i, n_threads));
    return most;
}

double sb_estimate_device_memory(const sb_sweep *sweep)
{
    double most = 0;
    for (int64_t i = 0; i < sweep->n_shapes; i++) {
        const sb_problem p = sb_sweep_problem(sweep, i);
        double bytes = sb_on_device_bytes(&p, sweep->cfg->measure.latency.enabled) +
                       bundle_bytes(sweep, i, &p, 1, SB_CUDA);
        most = fmax(most, bytes);
    }
    return most;
}

double sb_estimate_reference(const sb_sweep *sweep, int64_t shape)
{
    const sb_measure_options *m = &sweep->cfg->measure;
    const sb_problem p = sb_sweep_problem(sweep, shape);
    double n = (double)p.kv_len, rows = (double)m->fidelity_rows;
    rows = rows > 0 && rows < n ? rows : n;
    return m->fidelity ? 2 * (double)((p.dim + p.dim_v) * p.n_heads) * rows * n / 2 : 0;
}

bool sb_same_layer(const sb_shape_cell *a, const sb_shape_cell *b)
{
    return a->capture == b->capture && a->dtype == b->dtype && a->layer == b->layer;
}
