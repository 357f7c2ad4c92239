#include "harness/plot_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/timing.h"

static const char *text(const char *field)
{
    return field ? field : "";
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(text(a), text(b)) == 0;
}

bool sb_plot_same_group(const sb_record *a, const sb_record *b)
{
    return same_text(a->capture, b->capture) && same_text(a->dtype, b->dtype) &&
           same_text(a->backend, b->backend);
}

bool sb_plot_usable(const sb_record *r)
{
    return same_text(r->status, "ok") && r->tokens > 0 && !*text(r->task);
}

bool sb_plot_opens_group(const sb_record *records, int64_t i)
{
    if (!sb_plot_usable(&records[i]))
        return false;
    for (int64_t j = 0; j < i; j++)
        if (sb_plot_usable(&records[j]) && sb_plot_same_group(&records[j], &records[i]))
            return false;
    return true;
}

static bool is_dense(const sb_record *r)
{
    const sb_method *m = sb_method_find(text(r->method));
    return m && !m->select;
}

/* ---- gathering ---------------------------------------------------------------------------- */

static int64_t index_of(const int64_t *values, int64_t n, int64_t value)
{
    for (int64_t i = 0; i < n; i++)
        if (values[i] == value)
            return i;
    return -1;
}

static void insert_sorted(int64_t *values, int64_t *n, int64_t value)
{
    if (index_of(values, *n, value) >= 0)
        return;
    int64_t i = (*n)++;
    for (; i > 0 && values[i - 1] > value; i--)
        values[i] = values[i - 1];
    values[i] = value;
}

static int64_t curve_of(sb_plot_group *g, const sb_record *r, int run)
{
    for (int64_t c = 0; c < g->n_curves; c++)
        if (g->curves[c].run == run && sb_plot_same_curve(g->curves[c].first, r))
            return c;
    g->curves[g->n_curves] = (sb_plot_curve){.first = r, .run = run};
    return g->n_curves++;
}

static const sb_record *any_cell(const sb_plot_group *g, const sb_plot_point *p)
{
    for (int64_t l = 0; l < g->n_layers; l++)
        if (p->cells[l])
            return p->cells[l];
    return NULL;
}

/* A budget that was solved for differs from layer to layer: what it was matched to identifies it.
 */
static bool same_setting(const sb_record *a, const sb_record *b)
{
    bool matched = text(a->match_target)[0] != '\0';
    return same_text(a->match_target, b->match_target) &&
           (matched || same_text(a->params, b->params));
}

static sb_plot_point *point_of(sb_plot_group *g, const sb_record *r, int run)
{
    int64_t curve = curve_of(g, r, run);
    for (int64_t i = 0; i < g->n_points; i++) {
        sb_plot_point *p = &g->points[i];
        if (p->curve == curve && p->tokens == r->tokens && same_setting(any_cell(g, p), r))
            return p;
    }
    sb_plot_point *p = &g->points[g->n_points];
    *p = (sb_plot_point){.curve = curve, .tokens = r->tokens};
    p->cells = &g->cells[g->n_points++ * g->n_layers];
    return p;
}

static void drop_incomplete(sb_plot_group *g)
{
    int64_t n_kept = 0;
    for (int64_t i = 0; i < g->n_points; i++) {
        int64_t n_cells = 0;
        for (int64_t l = 0; l < g->n_layers; l++)
            n_cells += g->points[i].cells[l] != NULL;
        if (n_cells == g->n_layers)
            g->points[n_kept++] = g->points[i];
    }
    g->n_incomplete = g->n_points - n_kept;
    g->n_points = n_kept;
}

/* ---- figures of a point -------------------------------------------------------------------- */

static void combine_layers(sb_plot_point *p, int64_t n_layers)
{
    double spent = 0, dense = 0, logs = 0, n = (double)n_layers;
    for (int64_t l = 0; l < n_layers; l++) {
        const sb_record *r = p->cells[l];
        spent += r->flops_attend + r->flops_select;
        dense += r->flops_dense;
        logs += log(r->rel_l2);
        p->density += r->density / n;
        p->select_ms += r->select_ms / n;
        p->attend_ms += r->attend_ms / n;
        p->total_ms += r->total_ms / n;
        p->total_ms_lo += r->total_ms_lo / n;
        p->total_ms_hi += r->total_ms_hi / n;
    }
    p->budget = spent / dense;
    p->rel_l2 = exp(logs / n);
}

static void mark_pareto(sb_plot_group *g)
{
    for (int64_t i = 0; i < g->n_points; i++) {
        sb_plot_point *p = &g->points[i];
        p->pareto = isfinite(p->budget) && isfinite(p->rel_l2);
        for (int64_t j = 0; j < g->n_points && p->pareto; j++) {
            const sb_plot_point *q = &g->points[j];
            bool better = q->budget < p->budget || q->rel_l2 < p->rel_l2;
            p->pareto = !(q->tokens == p->tokens && q->budget <= p->budget &&
                          q->rel_l2 <= p->rel_l2 && better);
        }
    }
}

static int by_curve(const void *a, const void *b)
{
    const sb_plot_point *p = a, *q = b;
    if (p->curve != q->curve)
        return p->curve < q->curve ? -1 : 1;
    if (p->tokens != q->tokens)
        return p->tokens < q->tokens ? -1 : 1;
    if (p->density != q->density)
        return p->density < q->density ? -1 : 1;
    return p->cells[0]->cell < q->cells[0]->cell ? -1 : p->cells[0]->cell > q->cells[0]->cell;
}

/* ---- the dense baseline --------------------------------------------------------------------- */

/* Of records of one run, into dense_ms and dense_rel_l2 [n_lengths]. */
static void measure_dense(const sb_plot_group *g, const sb_record **own, int64_t n_own,
                          double *times, double *dense_ms, double *dense_rel_l2)
{
    for (int64_t i = 0; i < g->n_lengths; i++) {
        double ms = 0, logs = 0;
        int64_t n_dense = 0;
        for (int64_t l = 0; l < g->n_layers; l++) {
            int64_t n_times = 0;
            for (int64_t j = 0; j < n_own; j++) {
                const sb_record *r = own[j];
                if (r->tokens != g->lengths[i] || r->layer != g->layers[l])
                    continue;
                if (isfinite(r->dense_ms))
                    times[n_times++] = r->dense_ms;
                if (is_dense(r)) {
                    logs += log(r->rel_l2);
                    n_dense++;
                }
            }
            ms += sb_median(times, n_times) / (double)g->n_layers;
        }
        dense_ms[i] = ms;
        dense_rel_l2[i] = n_dense > 0 ? exp(logs / (double)n_dense) : NAN;
    }
}

double sb_plot_dense_ms(const sb_plot_group *g, int64_t curve, int64_t i)
{
    return g->dense_ms[g->curves[curve].run * g->n_lengths + i];
}

/* ---- the group ------------------------------------------------------------------------------ */

static sb_status allocate(sb_plot_group *g, int64_t n_own, sb_err *err)
{
    g->curves = sb_alloc(n_own, sizeof *g->curves);
    g->points = sb_alloc(n_own, sizeof *g->points);
    g->cells = sb_alloc(n_own * g->n_layers, sizeof *g->cells);
    g->dense_ms = sb_alloc(g->n_runs * g->n_lengths, sizeof *g->dense_ms);
    g->dense_rel_l2 = sb_alloc(g->n_runs * g->n_lengths, sizeof *g->dense_rel_l2);
    if (!g->curves || !g->points || !g->cells || !g->dense_ms || !g->dense_rel_l2)
        return sb_no_memory(err, "plot data");
    return SB_OK;
}

static bool is_of(const sb_plot_source *run, const sb_record *r)
{
    return sb_plot_usable(r) && sb_plot_same_group(run->first, r);
}

/* Whether every run has records of that layer and length. */
static bool shared(const sb_plot_group *g, const sb_record *r)
{
    for (int k = 0; k < g->n_runs; k++) {
        const sb_plot_source *run = &g->runs[k];
        int64_t i = 0;
        while (i < run->n && !(is_of(run, &run->records[i]) && run->records[i].layer == r->layer &&
                               run->records[i].tokens == r->tokens))
            i++;
        if (i == run->n)
            return false;
    }
    return true;
}

/* The group's records to own, run by run, ends[k] the end of run k's. */
static void collect(sb_plot_group *g, const sb_record **own, int64_t *ends)
{
    int64_t n_own = 0;
    for (int k = 0; k < g->n_runs; k++) {
        const sb_plot_source *run = &g->runs[k];
        for (int64_t i = 0; i < run->n; i++) {
            const sb_record *r = &run->records[i];
            if (!is_of(run, r) || (g->n_runs > 1 && !shared(g, r)))
                continue;
            own[n_own++] = r;
            insert_sorted(g->layers, &g->n_layers, r->layer);
            insert_sorted(g->lengths, &g->n_lengths, r->tokens);
        }
        ends[k] = n_own;
    }
}

static void fill(sb_plot_group *g, const sb_record **own, const int64_t *ends, double *times)
{
    int64_t from = 0;
    for (int k = 0; k < g->n_runs; from = ends[k++]) {
        for (int64_t i = from; i < ends[k]; i++)
            if (!is_dense(own[i]))
                point_of(g, own[i], k)->cells[index_of(g->layers, g->n_layers, own[i]->layer)] =
                    own[i];
        measure_dense(g, own + from, ends[k] - from, times, g->dense_ms + k * g->n_lengths,
                      g->dense_rel_l2 + k * g->n_lengths);
    }
    drop_incomplete(g);
    for (int64_t i = 0; i < g->n_points; i++)
        combine_layers(&g->points[i], g->n_layers);
    for (int k = 0; k < g->n_runs; k++) {
        from = k > 0 ? ends[k - 1] : 0;
        sb_plot_drop_mixed_times(g, own + from, ends[k] - from, k);
    }
    qsort(g->points, (size_t)g->n_points, sizeof *g->points, by_curve);
    mark_pareto(g);
}

sb_status sb_plot_group_gather(const sb_plot_source *runs, int n_runs, sb_plot_group *g,
                               sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n = 0, ends[SB_PLOT_RUNS] = {0};
    *g = (sb_plot_group){.first = runs[0].first, .n_runs = n_runs};
    for (int k = 0; k < n_runs; k++) {
        g->runs[k] = runs[k];
        n += runs[k].n;
    }
    const sb_record **own = sb_alloc(n, sizeof *own);
    double *times = sb_alloc(n, sizeof *times);
    g->layers = sb_alloc(n, sizeof *g->layers);
    g->lengths = sb_alloc(n, sizeof *g->lengths);
    SB_CHECK(own && times && g->layers && g->lengths, err, SB_NO_MEMORY,
             "out of memory for plot data");
    collect(g, own, ends);
    SB_TRY(allocate(g, ends[n_runs - 1], err));
    fill(g, own, ends, times);
    if (n_runs > 1) {
        SB_TRY(sb_plot_pair_curves(g, err));
    } else {
        SB_TRY(sb_plot_label(g->curves, g->n_curves, err));
        sb_plot_choose(g->curves, g->n_curves, SB_PLOT_CURVES);
    }
out:
    sb_free(times);
    sb_free(own);
    if (st != SB_OK)
        sb_plot_group_free(g);
    return st;
}

sb_status sb_plot_group_build(const sb_record *records, int64_t n, const sb_record *first,
                              sb_plot_group *g, sb_err *err)
{
    const sb_plot_source run = {.records = records, .n = n, .first = first};
    return sb_plot_group_gather(&run, 1, g, err);
}

void sb_plot_group_free(sb_plot_group *g)
{
    for (int64_t c = 0; c < g->n_curves; c++)
        sb_free(g->curves[c].label);
    sb_free(g->dense_rel_l2);
    sb_free(g->dense_ms);
    sb_free(g->cells);
    sb_free(g->points);
    sb_free(g->curves);
    sb_free(g->lengths);
    sb_free(g->layers);
    *g = (sb_plot_group){0};
}
