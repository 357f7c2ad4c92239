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
    /* backwards: a record of the same group is near */
    for (int64_t j = i - 1; j >= 0; j--)
        if (sb_plot_usable(&records[j]) && sb_plot_same_group(&records[j], &records[i]))
            return false;
    return true;
}

bool sb_plot_is_dense(const sb_record *r)
{
    const sb_method *m = sb_method_find(text(r->method));
    return m && !m->select;
}

/* ---- gathering ---------------------------------------------------------------------------- */

static void insert_sorted(int64_t *values, int64_t *n, int64_t value)
{
    int64_t i = *n;
    while (i > 0 && values[i - 1] > value)
        i--;
    if (i > 0 && values[i - 1] == value)
        return;
    memmove(&values[i + 1], &values[i], (size_t)(*n - i) * sizeof *values);
    values[i] = value;
    ++*n;
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
                if (sb_plot_is_dense(r)) {
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
        const sb_record *before = NULL;
        bool taken = false;
        for (int64_t i = 0; i < run->n; i++) {
            const sb_record *r = &run->records[i];
            if (!is_of(run, r))
                continue;
            if (!before || before->layer != r->layer || before->tokens != r->tokens)
                taken = g->n_runs == 1 || shared(g, r);
            before = r;
            if (!taken)
                continue;
            own[n_own++] = r;
            insert_sorted(g->layers, &g->n_layers, r->layer);
            insert_sorted(g->lengths, &g->n_lengths, r->tokens);
        }
        ends[k] = n_own;
    }
}

/* times [ends[n_runs - 1]] is room. */
static void measure_times(sb_plot_group *g, const sb_record **own, const int64_t *ends,
                          double *times)
{
    for (int k = 0; k < g->n_runs; k++) {
        int64_t from = k > 0 ? ends[k - 1] : 0, n = ends[k] - from;
        measure_dense(g, own + from, n, times, g->dense_ms + k * g->n_lengths,
                      g->dense_rel_l2 + k * g->n_lengths);
        sb_plot_drop_mixed_times(g, own + from, n, k);
    }
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
    SB_TRY(sb_plot_make_points(g, own, ends, err));
    measure_times(g, own, ends, times);
    if (n_runs > 1) {
        SB_TRY(sb_plot_pair_curves(g, err));
    } else {
        SB_TRY(sb_plot_label(g->curves, g->n_curves, err));
        SB_TRY(sb_plot_choose(g->curves, g->n_curves, SB_PLOT_CURVES, err));
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
