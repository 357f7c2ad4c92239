/* Two runs in one picture: which groups and which curves of theirs belong together. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/plot.h"
#include "harness/plot_draw.h"

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* ---- curves --------------------------------------------------------------------------------- */

static bool same_cells(const sb_plot_group *g, const sb_plot_point *p, const sb_plot_point *q,
                       bool errors)
{
    bool same = p->tokens == q->tokens;
    for (int64_t l = 0; l < g->n_layers && same; l++) {
        const sb_record *a = p->cells[l], *b = q->cells[l];
        same = a->density == b->density && same_text(a->mask_hash, b->mask_hash) &&
               a->flops_select == b->flops_select && (!errors || a->rel_l2 == b->rel_l2);
    }
    return same;
}

bool sb_plot_repeats(const sb_plot_group *g, int64_t curve, bool errors)
{
    int64_t twin = g->curves[curve].twin, n, n_twin;
    if (twin < 0)
        return false;
    const sb_plot_point *own = sb_plot_points_of(g, curve, 0, &n);
    const sb_plot_point *others = sb_plot_points_of(g, twin, 0, &n_twin);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = 0;
        while (j < n_twin && !same_cells(g, &own[i], &others[j], errors))
            j++;
        if (j == n_twin)
            return false;
    }
    return n == n_twin;
}

/* The settings of both runs, each once: n of them, n_shared that both have first. Of each curve its
 * setting, of [n_curves]. */
static int64_t list_settings(const sb_plot_group *g, sb_plot_curve *settings, int64_t *of,
                             int64_t *n_shared)
{
    enum { OWN = -2, SHARED = -1 };
    int64_t n = 0;
    for (int64_t c = 0; c < g->n_curves; c++) {
        of[c] = OWN;
        if (g->curves[c].twin >= 0)
            of[g->curves[c].twin] = SHARED;
    }
    for (int kind = SHARED; kind >= OWN; kind--) {
        for (int64_t c = 0; c < g->n_curves; c++) {
            if (g->curves[c].twin >= 0 || of[c] != kind)
                continue;
            settings[n].first = g->curves[c].first;
            of[c] = n++;
        }
        if (kind == SHARED)
            *n_shared = n;
    }
    for (int64_t c = 0; c < g->n_curves; c++)
        if (g->curves[c].twin >= 0)
            of[c] = of[g->curves[c].twin];
    return n;
}

/* As the curves of one run, but with a place for those that both have before others. */
static sb_status choose_settings(sb_plot_curve *settings, int64_t n, int64_t n_shared, sb_err *err)
{
    sb_status st = SB_OK;
    int used = 0;
    SB_TRY(sb_plot_choose(settings, n_shared, SB_PLOT_COLOURS, err));
    for (int64_t i = 0; i < n_shared; i++)
        used += settings[i].slot > 0;
    SB_TRY(sb_plot_choose(settings + n_shared, n - n_shared, SB_PLOT_COLOURS - used, err));
    for (int64_t i = n_shared; i < n; i++)
        settings[i].slot += settings[i].slot > 0 ? used : 0;
out:
    return st;
}

sb_status sb_plot_pair_curves(sb_plot_group *g, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n = 0, n_shared = 0;
    sb_plot_curve *settings = sb_alloc(g->n_curves, sizeof *settings);
    int64_t *of = sb_alloc(g->n_curves, sizeof *of);
    SB_CHECK(settings && of, err, SB_NO_MEMORY, "out of memory for plot data");
    n = list_settings(g, settings, of, &n_shared);
    SB_TRY(sb_plot_label(settings, n, err));
    SB_TRY(choose_settings(settings, n, n_shared, err));
    for (int64_t c = 0; c < g->n_curves; c++) {
        sb_plot_curve *curve = &g->curves[c];
        const sb_plot_curve *setting = &settings[of[c]];
        curve->slot = setting->slot > 0 ? setting->slot + curve->run * SB_PLOT_COLOURS : 0;
        curve->label = sb_strdup(setting->label);
        SB_CHECK(curve->label, err, SB_NO_MEMORY, "out of memory for curve labels");
    }
out:
    for (int64_t i = 0; i < n; i++)
        sb_free(settings[i].label);
    sb_free(of);
    sb_free(settings);
    return st;
}

/* ---- groups --------------------------------------------------------------------------------- */

static int64_t count_groups(const sb_plot_source *run)
{
    int64_t n = 0;
    for (int64_t i = 0; i < run->n; i++)
        n += sb_plot_opens_group(run->records, i);
    return n;
}

/* The record that opens the group to be put over that of `first`, or NULL: best one of the same
 * backend too. */
static const sb_record *partner(const sb_plot_source *other, const sb_record *first, bool alone)
{
    const sb_record *best = NULL;
    for (int64_t i = 0; i < other->n; i++) {
        const sb_record *r = &other->records[i];
        bool same_data = same_text(sb_base_name(r->capture), sb_base_name(first->capture)) &&
                         same_text(r->dtype, first->dtype);
        if (!sb_plot_opens_group(other->records, i) || !(alone || same_data))
            continue;
        if (!best ||
            (!same_text(best->backend, first->backend) && same_text(r->backend, first->backend)))
            best = r;
    }
    return best;
}

static sb_status add_set(sb_plot_job *j, const sb_plot_source *runs, bool alone, sb_err *err)
{
    sb_plot_set *set = &j->sets[j->n_sets];
    sb_status st = sb_plot_group_gather(runs, SB_PLOT_RUNS, &set->group, err);
    if (st != SB_OK)
        return st;
    j->n_sets++;
    if (set->group.n_points == 0) {
        sb_plot_group_free(&set->group);
        j->n_sets--;
        return SB_OK;
    }
    set->suffix = sb_plot_suffix(runs[0].first, alone);
    return set->suffix ? SB_OK : sb_no_memory(err, "plot names");
}

static sb_status make_sets(sb_plot_source runs[SB_PLOT_RUNS], sb_plot_job *j, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_groups = count_groups(&runs[0]);
    bool alone = n_groups == 1 && count_groups(&runs[1]) == 1;
    j->sets = sb_alloc(n_groups, sizeof *j->sets);
    SB_CHECK(j->sets, err, SB_NO_MEMORY, "out of memory for plots");
    for (int64_t i = 0; i < runs[0].n; i++) {
        if (!sb_plot_opens_group(runs[0].records, i))
            continue;
        runs[0].first = &runs[0].records[i];
        runs[1].first = partner(&runs[1], runs[0].first, alone);
        if (runs[1].first)
            SB_TRY(add_set(j, runs, n_groups == 1, err));
    }
    SB_CHECK(
        j->n_sets > 0, err, SB_BAD_DATA,
        "%s and %s: expected finished records of the same capture file and dtype, or one each, "
        "at a layer and length that both have",
        runs[0].name, runs[1].name);
out:
    return st;
}

/* ---- runs ----------------------------------------------------------------------------------- */

static sb_status overlay(sb_plot_source runs[SB_PLOT_RUNS], const char *plots_dir,
                         const char *format, int quiet, sb_err *err)
{
    sb_status st = SB_OK;
    sb_plot_job j = {.plots_dir = plots_dir, .format = format, .quiet = quiet};
    SB_TRY(make_sets(runs, &j, err));
    for (int k = 0; k < SB_PLOT_RUNS; k++)
        sb_plot_date(&j, runs[k].records, runs[k].n);
    SB_TRY(sb_plot_draw(&j, err));
out:
    sb_plot_sets_free(j.sets, j.n_sets);
    return st;
}

sb_status sb_plot_versus(const char *run_dir, const char *other_dir, const char *format, int quiet,
                         sb_err *err)
{
    const char *const dirs[SB_PLOT_RUNS] = {run_dir, other_dir};
    char full[SB_PLOT_RUNS][PATH_MAX], *parent = NULL, *plots_dir = NULL;
    sb_record *records[SB_PLOT_RUNS] = {NULL};
    int64_t n[SB_PLOT_RUNS] = {0};
    sb_plot_source runs[SB_PLOT_RUNS];
    sb_status st = SB_OK;
    SB_TRY(sb_plot_format(format, err));
    for (int k = 0; k < SB_PLOT_RUNS; k++) {
        SB_TRY(sb_results_read(dirs[k], &records[k], &n[k], err));
        SB_CHECK(realpath(dirs[k], full[k]), err, SB_IO, "%s: %s", dirs[k], strerror(errno));
        runs[k] = (sb_plot_source){.records = records[k], .n = n[k], .name = sb_base_name(full[k])};
    }
    parent = sb_sprintf("%s/plots", run_dir);
    plots_dir = sb_sprintf("%s/plots/vs-%s", run_dir, runs[1].name);
    SB_CHECK(parent && plots_dir, err, SB_NO_MEMORY, "out of memory for plot paths");
    SB_CHECK(mkdir(parent, 0777) == 0 || errno == EEXIST, err, SB_IO, "%s: %s", parent,
             strerror(errno));
    for (int k = 0; k < SB_PLOT_RUNS && strcmp(sb_base_name(full[0]), sb_base_name(full[1])) == 0;
         k++)
        runs[k].name = dirs[k];
    SB_TRY(overlay(runs, plots_dir, format, quiet, err));
out:
    sb_free(plots_dir);
    sb_free(parent);
    for (int k = 0; k < SB_PLOT_RUNS; k++)
        sb_records_free(records[k], n[k]);
    return st;
}
