#include "harness/plot.h"

#include <stddef.h>

#include "harness/mem.h"
#include "harness/plot_draw.h"

static sb_status add_group(sb_plot_job *j, const sb_record *first, bool alone, sb_err *err)
{
    sb_plot_set *set = &j->sets[j->n_sets++];
    sb_status st = sb_plot_group_build(j->records, j->n, first, &set->group, err);
    if (st != SB_OK)
        return st;
    set->suffix = sb_plot_suffix(first, alone);
    return set->suffix ? SB_OK : sb_no_memory(err, "plot names");
}

static sb_status add_model(sb_plot_job *j, const sb_record *first, bool alone, sb_err *err)
{
    sb_plot_set *set = &j->sets[j->n_sets++];
    set->of_model = true;
    sb_status st = sb_model_build(j->records, j->n, first, j->run_dir, &set->model, err);
    if (st != SB_OK)
        return st;
    set->suffix = sb_model_suffix(first, alone);
    return set->suffix ? SB_OK : sb_no_memory(err, "plot names");
}

static sb_status make_sets(sb_plot_job *j, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n_groups = 0, n_models = 0;
    for (int64_t i = 0; i < j->n; i++) {
        n_groups += sb_plot_opens_group(j->records, i);
        n_models += sb_model_opens(j->records, i);
    }
    SB_CHECK(n_groups + n_models > 0, err, SB_BAD_DATA, "%s: no finished record to plot",
             j->plots_dir);
    j->sets = sb_alloc(n_groups + n_models, sizeof *j->sets);
    SB_CHECK(j->sets, err, SB_NO_MEMORY, "out of memory for plots");
    for (int64_t i = 0; i < j->n; i++) {
        if (sb_plot_opens_group(j->records, i))
            SB_TRY(add_group(j, &j->records[i], n_groups == 1, err));
        if (sb_model_opens(j->records, i))
            SB_TRY(add_model(j, &j->records[i], n_models == 1, err));
    }
out:
    return st;
}

sb_status sb_plot_records(const sb_record *records, int64_t n, const char *run_dir,
                          const char *format, int quiet, sb_err *err)
{
    sb_status st = SB_OK;
    char *plots_dir = sb_sprintf("%s/plots", run_dir);
    sb_plot_job j = {.plots_dir = plots_dir,
                     .format = format,
                     .quiet = quiet,
                     .run_dir = run_dir,
                     .records = records,
                     .n = n};
    SB_CHECK(plots_dir, err, SB_NO_MEMORY, "out of memory for plot paths");
    SB_TRY(sb_plot_format(format, err));
    SB_TRY(make_sets(&j, err));
    sb_plot_date(&j, records, n);
    SB_TRY(sb_plot_draw(&j, err));
out:
    sb_plot_sets_free(j.sets, j.n_sets);
    sb_free(plots_dir);
    return st;
}

sb_status sb_plot_run(const char *run_dir, const char *format, int quiet, sb_err *err)
{
    sb_record *records = NULL;
    int64_t n = 0;
    sb_status st = SB_OK;
    SB_TRY(sb_results_read(run_dir, &records, &n, err));
    SB_TRY(sb_plot_records(records, n, run_dir, format, quiet, err));
out:
    sb_records_free(records, n);
    return st;
}
