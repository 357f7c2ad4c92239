/* Data of the figures that show one setting of each curve, at nearly equal density: errors and
 * budgets by query position, and patterns. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/plot_caption.h"
#include "harness/problem.h"

static bool whole_series(const sb_plot_group *g, const sb_plot_point *p, enum sb_series_id id)
{
    for (int64_t l = 0; l < g->n_layers; l++)
        if (p->cells[l]->series[id].n == 0 ||
            p->cells[l]->series[id].n != p->cells[0]->series[id].n)
            return false;
    return true;
}

static double over_layers(const sb_plot_group *g, const sb_plot_point *p, enum sb_series_id id,
                          int64_t i, bool geometric)
{
    double sum = 0;
    for (int64_t l = 0; l < g->n_layers; l++) {
        double x = p->cells[l]->series[id].data[i];
        sum += geometric ? log(x) : x;
    }
    double mean = sum / (double)g->n_layers;
    return geometric ? exp(mean) : mean;
}

enum { CALM_CURVES = 9, CALM_BINS = 32 };

/* Elements of a series that become one row: many curves of many bins would hide each other. */
static int64_t joined(const sb_plot_group *g, int64_t n)
{
    return g->n_curves > CALM_CURVES ? sb_ceil_div(n, CALM_BINS) : 1;
}

/* Errors by their root mean square, budgets by their mean. */
static double over_bins(const sb_plot_group *g, const sb_plot_point *p, enum sb_series_id id,
                        int64_t from, int64_t to)
{
    double sum = 0;
    bool error = id == SB_SERIES_POS_REL_L2;
    if (to == from + 1)
        return over_layers(g, p, id, from, error);
    for (int64_t i = from; i < to; i++)
        sum += pow(over_layers(g, p, id, i, error), error ? 2 : 1);
    return pow(sum / (double)(to - from), error ? .5 : 1);
}

/* Writes the rows of each curve's series: the query token where each stands, and its value. */
static sb_status put_series(sb_sheet *s, const sb_plot_group *g, enum sb_series_id id, sb_err *err)
{
    sb_status st = SB_OK;
    bool position = id == SB_SERIES_POS_REL_L2;
    double target = sb_plot_density(g, g->n_lengths - 1);
    fprintf(s->csv, "slot,curve,density,query,%s\n", position ? "rel_l2" : "kept_blocks");
    for (int64_t c = 0; c < g->n_curves; c++) {
        const sb_plot_point *p = sb_plot_nearest(g, c, sb_plot_longest(g), target);
        int slot = g->curves[c].slot;
        if (slot == 0 || !p || !whole_series(g, p, id) || sb_plot_repeats(g, c, position))
            continue;
        const sb_record *r = p->cells[0];
        int64_t n = r->series[id].n, step = joined(g, n);
        double width = (double)(position ? r->pos_bin : r->block);
        for (int64_t i = 0; i < n; i += step) {
            int64_t end = i + step < n ? i + step : n;
            fprintf(s->csv, "%d,", slot);
            sb_sheet_quoted(s->csv, g->curves[c].label);
            sb_sheet_real(s->csv, p->density);
            sb_sheet_real(s->csv, (double)(i + end) / 2 * width);
            sb_sheet_real(s->csv, over_bins(g, p, id, i, end));
            fputc('\n', s->csv);
            s->n_rows++;
        }
        SB_TRY(sb_sheet_key(s, slot, err, "%s  (%.3f)", g->curves[c].label, p->density));
    }
out:
    return st;
}

static sb_status chosen_note(sb_sheet *s, const sb_plot_group *g, sb_err *err)
{
    return sb_sheet_key(
        s, 0, err,
        "In brackets: density of each curve's setting nearest to %.3f (none within a "
        "factor of 1.5: left out). " SB_PLOT_DENSITY_NOTE,
        sb_plot_density(g, g->n_lengths - 1));
}

static sb_status joined_note(sb_sheet *s, const sb_plot_group *g, const char *how, sb_err *err)
{
    return g->n_curves <= CALM_CURVES
               ? SB_OK
               : sb_sheet_key(s, 0, err, "Bins are joined into at most %d, by their %s.",
                              (int)CALM_BINS, how);
}

sb_status sb_plot_write_position(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                 int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    SB_TRY(put_series(&s, g, SB_SERIES_POS_REL_L2, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (geometric mean)", sb_plot_longest(g),
                           err));
    SB_TRY(sb_plot_machine(&s, g, "", err));
    SB_TRY(chosen_note(&s, g, err));
    SB_TRY(sb_sheet_key(&s, 0, err, "Errors below a hundredth of the largest are cut off."));
    SB_TRY(joined_note(&s, g, "root mean square", err));
    SB_TRY(sb_plot_once(&s, g, true, err));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

sb_status sb_plot_write_schedules(const sb_plot_group *g, const char *csv_path,
                                  const char *key_path, int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    SB_TRY(put_series(&s, g, SB_SERIES_BUDGET, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", sb_plot_longest(g), err));
    SB_TRY(sb_plot_machine(&s, g, "", err));
    SB_TRY(chosen_note(&s, g, err));
    SB_TRY(sb_sheet_key(&s, 0, err, "Kept blocks of a row: mean over heads."));
    SB_TRY(joined_note(&s, g, "mean", err));
    SB_TRY(sb_plot_once(&s, g, false, err));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

/* ---- pattern maps --------------------------------------------------------------------------- */

static void put_map(sb_sheet *s, int slot, const sb_record *r)
{
    const double *map = r->series[SB_SERIES_PATTERN_MAP].data;
    double width = (double)r->tokens / (double)r->map_side;
    for (int64_t i = 0; i < r->map_side; i++) {
        for (int64_t j = 0; j < r->map_side; j++) {
            double share = map[i * r->map_side + j];
            fprintf(s->csv, "%d,%.9g,%.9g,%.4g\n", slot, ((double)i + .5) * width,
                    ((double)j + .5) * width, share < 0 ? -1 : share);
            s->n_rows++;
        }
    }
}

sb_status sb_plot_write_maps(const sb_plot_group *g, const char *csv_path, const char *key_path,
                             int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    int64_t layer = g->n_layers > 0 ? (g->n_layers - 1) / 2 : 0;
    double target = sb_plot_density(g, g->n_lengths - 1);
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,query,key,share\n", s.csv);
    for (int64_t c = 0; c < g->n_curves; c++) {
        const sb_plot_point *p = sb_plot_nearest(g, c, sb_plot_longest(g), target);
        int slot = g->curves[c].slot;
        if (slot == 0 || !p)
            continue;
        const sb_record *r = p->cells[layer];
        if (r->map_side == 0 || r->series[SB_SERIES_PATTERN_MAP].n != r->map_side * r->map_side)
            continue;
        put_map(&s, slot, r);
        SB_TRY(sb_sheet_key(&s, slot, err, "%s  (%.3f)", g->curves[c].label, r->density));
    }
    SB_TRY(sb_plot_caption(&s, g, &g->layers[layer], 1, "", sb_plot_longest(g), err));
    SB_TRY(sb_plot_machine(&s, g, "", err));
    SB_TRY(chosen_note(&s, g, err));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}
