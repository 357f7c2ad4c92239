#include "harness/plot_draw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/plot_published.h"
#include "harness/provenance.h"

#ifndef SB_SCRIPTS_DIR
#define SB_SCRIPTS_DIR "scripts"
#endif

/* ---- one picture ---------------------------------------------------------------------------- */

/* The data files, the picture and the script of one figure of one group. */
typedef struct paths {
    char *name, *csv, *key, *published, *picture, *script;
} paths;

static sb_status paths_make(paths *p, const char *figure, const char *suffix, const char *plots_dir,
                            const char *format, sb_err *err)
{
    const char *scripts = getenv("STEMBENCH_SCRIPTS");
    p->name = sb_sprintf("%s%s", figure, suffix);
    p->csv = sb_sprintf("%s/data/%s%s.csv", plots_dir, figure, suffix);
    p->key = sb_sprintf("%s/data/%s%s.key.tsv", plots_dir, figure, suffix);
    p->published = sb_sprintf("%s/data/%s%s.published.csv", plots_dir, figure, suffix);
    p->picture = sb_sprintf("%s/%s%s.%s", plots_dir, figure, suffix, format);
    p->script = sb_sprintf("%s/plots/%s.gp", scripts ? scripts : SB_SCRIPTS_DIR, figure);
    if (!p->name || !p->csv || !p->key || !p->published || !p->picture || !p->script)
        return sb_no_memory(err, "plot paths");
    return SB_OK;
}

static void paths_free(paths *p)
{
    sb_free(p->script);
    sb_free(p->picture);
    sb_free(p->published);
    sb_free(p->key);
    sb_free(p->csv);
    sb_free(p->name);
}

/* set == NULL: a picture of the whole run. */
static sb_status write_rows(const sb_plot_job *j, const sb_figure *figure, const sb_plot_set *set,
                            const paths *p, int64_t *n_rows, sb_err *err)
{
    if (!set)
        return sb_plot_write_throughput(j->records, j->n, j->run_dir, p->csv, p->key, n_rows, err);
    if (set->of_model)
        return figure->write_model(&set->model, p->csv, p->key, n_rows, err);
    return figure->write(&set->group, p->csv, p->key, n_rows, err);
}

static sb_status write_data(const sb_plot_job *j, const sb_figure *figure, const sb_plot_set *set,
                            const char *suffix, sb_err *err)
{
    sb_status st = SB_OK;
    paths p = {0};
    int64_t n_rows = 0;
    SB_TRY(paths_make(&p, figure->name, suffix, j->plots_dir, j->format, err));
    /* a picture of earlier results must not outlive them */
    (void)unlink(p.picture);
    SB_TRY(write_rows(j, figure, set, &p, &n_rows, err));
    if (n_rows == 0) {
        (void)unlink(p.csv);
        (void)unlink(p.key);
        (void)unlink(p.published);
        if (!j->quiet)
            printf("skipped %s: needs %s\n", p.name, figure->needs);
    } else if (j->run_dir) {
        SB_TRY(sb_published_write(j->run_dir, figure->name, p.published, p.key, err));
    }
out:
    paths_free(&p);
    return st;
}

static sb_status draw(const sb_plot_job *j, const sb_figure *figure, const char *suffix,
                      sb_err *err)
{
    sb_status st = SB_OK;
    paths p = {0};
    SB_TRY(paths_make(&p, figure->name, suffix, j->plots_dir, j->format, err));
    if (access(p.csv, R_OK) != 0)
        goto out;
    SB_TRY(sb_gnuplot(p.script, j->plots_dir, p.name, j->format, j->date, err));
    if (!j->quiet)
        printf("wrote %s\n", p.picture);
out:
    paths_free(&p);
    return st;
}

/* ---- all pictures --------------------------------------------------------------------------- */

static bool shows(const sb_figure *figure, const sb_plot_set *set)
{
    if (set->of_model)
        return figure->write_model;
    return figure->write && (figure->overlays || set->group.n_runs == 1);
}

static sb_status each_picture(const sb_plot_job *j, bool drawing, sb_err *err)
{
    sb_status st = SB_OK;
    for (int64_t k = 0; k < j->n_sets; k++) {
        const sb_plot_set *set = &j->sets[k];
        for (int i = 0; i < SB_N_FIGURES; i++)
            if (shows(&sb_figures[i], set))
                SB_TRY(drawing ? draw(j, &sb_figures[i], set->suffix, err)
                               : write_data(j, &sb_figures[i], set, set->suffix, err));
    }
    for (int i = 0; i < SB_N_FIGURES && j->records; i++)
        if (!sb_figures[i].write && !sb_figures[i].write_model)
            SB_TRY(drawing ? draw(j, &sb_figures[i], "", err)
                           : write_data(j, &sb_figures[i], NULL, "", err));
out:
    return st;
}

static sb_status make_dir(const char *path, sb_err *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return sb_fail(err, SB_IO, "%s: %s", path, strerror(errno));
    return SB_OK;
}

sb_status sb_plot_draw(const sb_plot_job *j, sb_err *err)
{
    sb_status st = SB_OK;
    char *data_dir = sb_sprintf("%s/data", j->plots_dir);
    SB_CHECK(data_dir, err, SB_NO_MEMORY, "out of memory for plot paths");
    SB_TRY(make_dir(j->plots_dir, err));
    SB_TRY(make_dir(data_dir, err));
    /* all data first: it serves without gnuplot too */
    SB_TRY(each_picture(j, false, err));
    SB_TRY(each_picture(j, true, err));
out:
    sb_free(data_dir);
    return st;
}

/* ---- what a job is made of ------------------------------------------------------------------ */

sb_status sb_plot_format(const char *format, sb_err *err)
{
    if (strcmp(format, "svg") != 0 && strcmp(format, "png") != 0 && strcmp(format, "pdf") != 0)
        return sb_fail(err, SB_USAGE, "unknown format '%s'; expected svg, png or pdf", format);
    return SB_OK;
}

void sb_plot_date(sb_plot_job *j, const sb_record *records, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int n_utc, n_digits = 0;
        char date[sizeof j->date] = "";
        const char *utc = sb_provenance_value(records[i].provenance, "utc", &n_utc);
        for (int k = 0; k < n_utc && n_digits < 14; k++)
            if (utc[k] >= '0' && utc[k] <= '9')
                date[n_digits++] = utc[k];
        if (strcmp(date, j->date) > 0)
            memcpy(j->date, date, sizeof date);
    }
}

char *sb_plot_suffix(const sb_record *first, bool alone)
{
    if (alone)
        return sb_strdup("");
    const char *capture = sb_base_name(first->capture);
    return sb_sprintf("_%.*s_%s_%s", (int)strcspn(capture, "."), capture,
                      first->dtype ? first->dtype : "", first->backend ? first->backend : "");
}

char *sb_model_suffix(const sb_record *first, bool alone)
{
    return alone
               ? sb_strdup("")
               : sb_sprintf("_%s_%s_%s", first->model ? first->model : "",
                            first->dtype ? first->dtype : "", first->backend ? first->backend : "");
}

void sb_plot_sets_free(sb_plot_set *sets, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        sb_plot_group_free(&sets[i].group);
        sb_model_free(&sets[i].model);
        sb_free(sets[i].suffix);
    }
    sb_free(sets);
}
