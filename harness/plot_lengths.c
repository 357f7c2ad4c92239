/* Data of the figure of schedules over lengths: one setting, its density and error at each length.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/equal.h"
#include "harness/mem.h"
#include "harness/plot_caption.h"
#include "harness/plot_params.h"

enum { FEWEST_LENGTHS = 6 };

/* A setting across lengths: points of one curve whose parameters, or what they were matched to, are
 * the same. */
typedef struct setting {
    const sb_plot_point *first, *longest; /* at its shortest and longest length */
    int64_t n_lengths;
    int64_t rank; /* among those of its curve */
} setting;

static char *setting_text(const void *things, int64_t i)
{
    const sb_plot_point *p = &((const sb_plot_point *)things)[i];
    const sb_record *r = p->cells[0];
    bool matched = r->match_target && *r->match_target;
    return sb_sprintf("%" PRId64 " %c%s", p->curve, matched ? 'm' : 'p',
                      matched     ? r->match_target
                      : r->params ? r->params
                                  : "");
}

static bool usable(const sb_plot_group *g, const sb_plot_point *p)
{
    return g->curves[p->curve].slot > 0 && isfinite(p->rel_l2) && p->rel_l2 > 0;
}

/* Settings that are there at enough lengths, into `all` [n_points]; points are sorted by curve and
 * length. of [n_points]: of each point the first of its setting. */
static int64_t find_settings(const sb_plot_group *g, const int64_t *of, setting *all)
{
    int64_t n_kept = 0;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        setting *s = &all[of[i]];
        if (!usable(g, p))
            continue;
        s->first = s->first ? s->first : p;
        s->longest = p;
        s->n_lengths++;
    }
    for (int64_t i = 0; i < g->n_points; i++) {
        if (all[i].n_lengths < FEWEST_LENGTHS)
            continue;
        const setting *before = n_kept > 0 ? &all[n_kept - 1] : NULL;
        bool same = before && before->first->curve == all[i].first->curve;
        all[i].rank = same ? before->rank + 1 : 0;
        all[n_kept++] = all[i];
    }
    return n_kept;
}

/* Settings that each curve may show so that all together fit. */
static int64_t share(const setting *all, int64_t n)
{
    int64_t shown = 0, most = 0;
    do {
        most++;
        shown = 0;
        for (int64_t k = 0; k < n; k++)
            shown += all[k].rank <= most;
    } while (shown <= SB_PLOT_CURVES && most < n);
    return most;
}

/* Blocks that the fullest row keeps: mean over heads and layers. NaN where budgets are not known.
 */
static double fullest_row(const sb_plot_group *g, const sb_plot_point *p)
{
    double sum = 0;
    for (int64_t l = 0; l < g->n_layers; l++) {
        const sb_series *budget = &p->cells[l]->series[SB_SERIES_BUDGET];
        double most = budget->n > 0 ? 0 : NAN;
        for (int64_t i = 0; i < budget->n; i++)
            most = fmax(most, budget->data[i]);
        sum += most;
    }
    return sum / (double)g->n_layers;
}

/* What tells the setting from others of its curve: budget parameters, " k_start=0.2", or, where
 * they were solved for, its density at the longest length. */
static void budget_text(const setting *all, int64_t n, const setting *own, char *buf, size_t bytes)
{
    const sb_record *r = own->first->cells[0];
    sb_span name, value;
    size_t used = 0;
    buf[0] = '\0';
    for (const char *at = r->params; sb_param_next(&at, &name, &value);) {
        bool differs = false;
        for (int64_t k = 0; k < n && sb_param_is_budget(r->method, name); k++)
            differs |= all[k].first->curve == own->first->curve &&
                       !sb_span_same(sb_param_value(all[k].first->cells[0]->params, name), value);
        if (differs && used < bytes)
            used += (size_t)snprintf(buf + used, bytes - used, " %.*s=%.*s", name.n, name.at,
                                     value.n, value.at);
    }
    if (r->match_target && *r->match_target)
        (void)snprintf(buf, bytes, "  (%.3f)", own->longest->density);
}

static sb_status put_setting(sb_sheet *s, const sb_plot_group *g, const setting *all, int64_t n,
                             const setting *own, const int64_t *of, int slot, sb_err *err)
{
    sb_status st = SB_OK;
    char budget[96];
    budget_text(all, n, own, budget, sizeof budget);
    char *label = sb_sprintf("%s%s", g->curves[own->first->curve].label, budget);
    SB_CHECK(label, err, SB_NO_MEMORY, "out of memory for a label");
    int64_t first = own->first - g->points;
    for (int64_t i = first; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        if (!usable(g, p) || of[i] != of[first])
            continue;
        int64_t block = p->cells[0]->block;
        fprintf(s->csv, "%d,", slot);
        sb_sheet_quoted(s->csv, label);
        fprintf(s->csv, ",%" PRId64, p->tokens);
        sb_sheet_real(s->csv, block > 0 ? (double)p->tokens / (double)block : NAN);
        sb_sheet_real(s->csv, p->density);
        sb_sheet_real(s->csv, fullest_row(g, p));
        sb_sheet_real(s->csv, p->rel_l2);
        fputc('\n', s->csv);
        s->n_rows++;
    }
    SB_TRY(sb_sheet_key(s, slot, err, "%s", label));
out:
    sb_free(label);
    return st;
}

static sb_status put_captions(sb_sheet *s, const sb_plot_group *g, int64_t n_hidden, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_plot_caption(s, g, g->layers, g->n_layers, " (errors: geometric mean)", 0, err));
    SB_TRY(sb_plot_machine(s, g, "", err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "A curve is one setting at every length; in brackets, where it was solved "
                        "for, its density at the longest. " SB_PLOT_DENSITY_NOTE));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Fullest row: the most blocks that a row keeps, forced blocks included, "
                        "mean over heads and layers."));
    if (n_hidden > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Settings not shown: %" PRId64 ".", n_hidden));
    SB_TRY(sb_plot_omissions(s, g, err));
out:
    return st;
}

sb_status sb_plot_write_lengths(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    int slot = 0;
    setting *all = sb_alloc(g->n_points, sizeof *all);
    int64_t *of = sb_alloc(g->n_points, sizeof *of);
    SB_CHECK(all && of, err, SB_NO_MEMORY, "out of memory for settings");
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,curve,tokens,blocks,density,fullest_row,rel_l2\n", s.csv);
    SB_TRY(sb_first_equal(g->points, g->n_points, setting_text, of, err));
    int64_t n = find_settings(g, of, all), most = share(all, n);
    for (int64_t k = 0; k < n; k++)
        if (all[k].rank < most)
            SB_TRY(put_setting(&s, g, all, n, &all[k], of, ++slot, err));
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, g, n - slot, err));
out:
    *n_rows = s.n_rows;
    st = sb_sheet_close(&s, st, csv_path, err);
    sb_free(of);
    sb_free(all);
    return st;
}
