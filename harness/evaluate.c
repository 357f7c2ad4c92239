#include "harness/evaluate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/backend.h"
#include "harness/flops.h"
#include "harness/match.h"
#include "harness/mem.h"
#include "harness/metrics.h"
#include "methods/kernels/cpu/attend.h"

/* ---- the record's fixed part --------------------------------------------------------------- */

static sb_status describe(const sb_sweep *sweep, const sb_shape_data *data, sb_cell *cell,
                          sb_err *err)
{
    sb_status st = SB_OK;
    sb_record *r = &cell->record;
    const sb_shape_cell *s = &sweep->shapes[cell->shape];
    const sb_capture *cap = &sweep->captures[s->capture];
    const sb_method *m = sweep->cfg->variants[cell->variant].method;
    const sb_problem *p = &data->problem;
    char *params = sb_values_text(m, cell->values, " ");
    char *config = sb_cell_config(sweep, cell->shape, cell->variant, &data->exec);
    SB_CHECK(params && config, err, SB_NO_MEMORY, "out of memory for a record");
    r->cell = cell->shape * sweep->cfg->n_variants + cell->variant;
    r->layer = s->layer;
    r->tokens = s->tokens;
    r->heads = p->n_heads;
    r->kv_heads = p->n_kv_heads;
    r->head_dim = p->dim;
    r->threads = data->exec.n_threads;
    SB_TRY(sb_record_set(&r->status, "ok", err));
    SB_TRY(sb_record_set(&r->capture, cap->path, err));
    SB_TRY(sb_record_set(&r->model, cap->model, err));
    SB_TRY(sb_record_set(&r->dtype, sb_dtype_name(p->dtype), err));
    SB_TRY(sb_record_set(&r->backend, sb_backend_name(data->exec.backend), err));
    const char *unplanned =
        data->exec.backend == SB_CUDA ? "cuda" : sb_cpu_kernel_for(p, SB_DENSE_TILE)->name;
    bool named = cell->plan && cell->plan->kernel_name[0];
    SB_TRY(sb_record_set(&r->kernel, named ? cell->plan->kernel_name : unplanned, err));
    SB_TRY(sb_record_set(&r->method, m->name, err));
    SB_TRY(sb_record_set(&r->params, params, err));
    SB_TRY(sb_record_set(&r->config, config, err));
    int at = sb_param_index(m, "variant");
    if (at >= 0) {
        char variant[64];
        (void)sb_value_format(&m->params[at], &cell->values[at], variant, sizeof variant);
        SB_TRY(sb_record_set(&r->variant, variant, err));
    }
out:
    sb_free(config);
    sb_free(params);
    return st;
}

/* ---- patterns ------------------------------------------------------------------------------ */

static const sb_inputs *plan_inputs(const sb_shape_data *data)
{
    return data->device ? &data->device->sets[0] : &data->inputs;
}

sb_status sb_plan_and_select(const sb_method *m, const sb_value *values, const sb_shape_data *data,
                             sb_plan **plan, sb_pattern *pat, sb_err *err)
{
    sb_status st = SB_OK;
    *plan = NULL;
    *pat = (sb_pattern){0};
    SB_TRY(sb_plan_create(m, &data->problem, &data->exec, values, plan, err));
    if (m->select) {
        SB_TRY(
            sb_pattern_alloc(&data->problem, (*plan)->block, (*plan)->pattern_capacity, pat, err));
        if ((*plan)->tokens)
            SB_TRY(sb_pattern_add_tokens(pat, err));
        SB_TRY(sb_plan_select(*plan, plan_inputs(data), pat, err));
        SB_TRY(sb_plan_read_pattern(*plan, pat, err));
        SB_TRY(sb_pattern_check(&data->problem, pat, err));
    }
    return SB_OK;
out:
    sb_pattern_free(pat);
    sb_plan_destroy(*plan);
    *plan = NULL;
    return st;
}

static sb_status keep_budget(const sb_problem *p, const sb_pattern *pat, sb_record *r, sb_err *err)
{
    double *kept = sb_alloc(pat->n_rows, sizeof *kept);
    if (!kept)
        return sb_no_memory(err, "row budgets");
    for (int64_t h = 0; h < pat->n_heads; h++)
        for (int64_t row = 0; row < pat->n_rows; row++) {
            int64_t i = sb_pattern_row(pat, 0, h, row);
            for (int64_t e = pat->row_ptr[i]; e < pat->row_ptr[i + 1]; e++)
                kept[row] += sb_kept_share(p, pat, e) / (double)p->n_heads;
        }
    sb_status st = sb_record_series(r, SB_SERIES_BUDGET, kept, pat->n_rows, err);
    sb_free(kept);
    return st;
}

/* Share of kept blocks over heads on a grid of at most SB_MAP_MAX x SB_MAP_MAX. */
static sb_status keep_map(const sb_problem *p, const sb_pattern *pat, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n = pat->n_rows, m = n < SB_MAP_MAX ? n : SB_MAP_MAX;
    double *kept = sb_alloc(m * m, sizeof *kept), *all = sb_alloc(m * m, sizeof *all);
    SB_CHECK(kept && all, err, SB_NO_MEMORY, "out of memory for a pattern map");
    for (int64_t row = 0; row < n; row++) {
        for (int64_t j = 0; j <= row; j++)
            all[row * m / n * m + j * m / n] += (double)pat->n_heads;
        for (int64_t h = 0; h < pat->n_heads; h++) {
            int64_t i = sb_pattern_row(pat, 0, h, row);
            for (int64_t e = pat->row_ptr[i]; e < pat->row_ptr[i + 1]; e++)
                kept[row * m / n * m + pat->col[e] * m / n] += sb_kept_share(p, pat, e);
        }
    }
    for (int64_t i = 0; i < m * m; i++)
        kept[i] = all[i] > 0 ? kept[i] / all[i] : -1;
    r->map_side = m;
    SB_TRY(sb_record_series(r, SB_SERIES_PATTERN_MAP, kept, m * m, err));
out:
    sb_free(all);
    sb_free(kept);
    return st;
}

static sb_status describe_pattern(const sb_shape_data *data, sb_cell *cell, sb_err *err)
{
    sb_record *r = &cell->record;
    const sb_pattern *pat = cell->has_pattern ? &cell->pattern : NULL;
    sb_flops flops = sb_flops_count(&data->problem, pat, SB_DENSE_TILE);
    r->flops_dense = flops.dense;
    r->flops_attend = flops.attend;
    r->flops_tile = flops.tile;
    r->flops_select = cell->plan->select_flops;
    r->density = r->pair_density = 1;
    if (!pat)
        return SB_OK;
    sb_pattern_stats s = sb_pattern_measure(&data->problem, pat);
    r->block = pat->block;
    r->density = s.density;
    r->pair_density = s.pair_density;
    if (cell->plan->published_pairs > 0)
        r->published_pair_density = cell->plan->published_pairs / s.causal_pairs;
    char hash[17];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, sb_pattern_hash(pat));
    sb_status st = sb_record_set(&r->mask_hash, hash, err);
    if (st == SB_OK)
        st = keep_budget(&data->problem, pat, r, err);
    return st == SB_OK ? keep_map(&data->problem, pat, r, err) : st;
}

/* ---- fidelity ------------------------------------------------------------------------------ */

static sb_status keep_fidelity(const sb_fidelity *f, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    r->rel_l2 = f->rel_l2;
    r->rel_l2_p50 = f->rel_l2_p50;
    r->rel_l2_p95 = f->rel_l2_p95;
    r->rel_l2_max = f->rel_l2_max;
    r->cosine_mean = f->cosine_mean;
    r->cosine_min = f->cosine_min;
    r->max_abs = f->max_abs;
    r->mass_recall = f->mass_recall;
    r->lse_err = f->lse_err;
    r->pos_bin = f->bin_tokens;
    SB_TRY(sb_record_series(r, SB_SERIES_HEAD_REL_L2, f->head_rel_l2, f->n_heads, err));
    SB_TRY(sb_record_series(r, SB_SERIES_HEAD_MASS_RECALL, f->head_mass_recall, f->n_heads, err));
    SB_TRY(sb_record_series(r, SB_SERIES_POS_REL_L2, f->pos_rel_l2, f->n_bins, err));
    SB_TRY(sb_record_series(r, SB_SERIES_POS_MASS_RECALL, f->pos_mass_recall, f->n_bins, err));
out:
    return st;
}

/* The kernel against float64 attention over the same pattern, on a sample of rows. */
static sb_status measure_implementation(const sb_measure_options *m, const sb_shape_data *data,
                                        sb_cell *cell, sb_err *err)
{
    sb_status st = SB_OK;
    sb_reference exact = {0};
    sb_fidelity fidelity = {0};
    const sb_problem *p = &data->problem;
    int64_t *rows = sb_alloc(p->q_len, sizeof *rows);
    SB_CHECK(rows, err, SB_NO_MEMORY, "out of memory for sampled rows");
    int64_t n = sb_sample_rows(p->q_len, m->impl_rows, m->seed, rows);
    SB_TRY(sb_reference_compute(p, &data->inputs, cell->has_pattern ? &cell->pattern : NULL, rows,
                                n, data->exec.n_threads, data->stop, &exact, err));
    SB_TRY(sb_fidelity_measure(p, &data->outputs, &exact, p->q_len, data->exec.n_threads, &fidelity,
                               err));
    cell->record.impl_rel_l2 = fidelity.rel_l2;
out:
    sb_fidelity_free(&fidelity);
    sb_reference_free(&exact);
    sb_free(rows);
    return st;
}

static sb_status measure_fidelity(const sb_measure_options *m, const sb_shape_data *data,
                                  sb_cell *cell, sb_err *err)
{
    sb_status st = SB_OK;
    sb_fidelity fidelity = {0};
    const sb_problem *p = &data->problem;
    int64_t bin = cell->has_pattern ? cell->pattern.block : SB_DENSE_TILE;
    /* NaN everywhere, so that a row the kernel skips fails the cell. */
    memset(data->outputs.o, 0xff,
           (size_t)(p->n_heads * p->q_len * p->dim_v) * sb_dtype_bytes(p->dtype));
    memset(data->outputs.lse, 0xff, (size_t)(p->n_heads * p->q_len) * sizeof(float));
    if (data->device)
        SB_TRY(sb_on_device_poison(data->device, err));
    SB_TRY(sb_plan_attend(cell->plan, plan_inputs(data), cell->has_pattern ? &cell->pattern : NULL,
                          data->device ? &data->device->out : &data->outputs, err));
    if (data->device)
        SB_TRY(sb_on_device_fetch(data->device, &data->outputs, err));
    SB_TRY(sb_fidelity_measure(p, &data->outputs, data->reference, bin, data->exec.n_threads,
                               &fidelity, err));
    SB_TRY(keep_fidelity(&fidelity, &cell->record, err));
    SB_TRY(measure_implementation(m, data, cell, err));
out:
    sb_fidelity_free(&fidelity);
    return st;
}

/* ---- a cell -------------------------------------------------------------------------------- */

/* What a method cannot do or gets wrong, or does not fit, is a row; being stopped is not. */
static bool is_a_row(sb_status st)
{
    return st != SB_OK && st != SB_INTERRUPTED && st != SB_IO;
}

static sb_status compute(const sb_sweep *sweep, const sb_shape_data *data, sb_cell *cell,
                         sb_err *err)
{
    sb_status st = SB_OK;
    const sb_variant *v = &sweep->cfg->variants[cell->variant];
    if (v->target >= 0)
        SB_TRY(sb_match_solve(sweep, data, cell, err));
    SB_TRY(sb_plan_and_select(v->method, cell->values, data, &cell->plan, &cell->pattern, err));
    cell->has_pattern = v->method->select != NULL;
    SB_TRY(describe_pattern(data, cell, err));
    if (data->reference)
        SB_TRY(measure_fidelity(&sweep->cfg->measure, data, cell, err));
out:
    return st;
}

sb_status sb_cell_fail(sb_cell *cell, const sb_err *why, sb_err *err)
{
    sb_status st = sb_record_set(&cell->record.status,
                                 why->status == SB_UNSUPPORTED ? "unsupported" : "failed", err);
    sb_pattern_free(&cell->pattern);
    sb_plan_destroy(cell->plan);
    cell->plan = NULL;
    return st == SB_OK ? sb_record_set(&cell->record.reason, why->msg, err) : st;
}

sb_status sb_cell_evaluate(const sb_sweep *sweep, int64_t shape, int64_t variant,
                           const sb_shape_data *data, sb_cell *cell, sb_err *err)
{
    sb_err failure = {0};
    *cell = (sb_cell){.shape = shape, .variant = variant};
    memcpy(cell->values, sweep->cfg->variants[variant].values, sizeof cell->values);
    sb_record_init(&cell->record);
    sb_status failed = data->refused
                           ? sb_fail(&failure, data->refused->status, "%s", data->refused->msg)
                           : compute(sweep, data, cell, &failure);
    sb_status st = describe(sweep, data, cell, err);
    if (st == SB_OK && failed != SB_OK && is_a_row(failed))
        return sb_cell_fail(cell, &failure, err);
    return st != SB_OK ? st : failed == SB_OK ? SB_OK : sb_fail(err, failed, "%s", failure.msg);
}

void sb_cell_free(sb_cell *cell)
{
    sb_pattern_free(&cell->pattern);
    sb_plan_destroy(cell->plan);
    sb_record_free(&cell->record);
    *cell = (sb_cell){0};
}
