#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/plot_caption.h"
#include "harness/plot_data.h"
#include "harness/plot_sheet.h"
#include "harness/problem.h"

/* ---- curves over settings ------------------------------------------------------------------- */

static const char *const point_header =
    "slot,curve,tokens,density,budget,rel_l2,pareto,"
    "select_ms,attend_ms,total_ms,total_ms_lo,total_ms_hi,setting\n";

static void put_point(sb_sheet *s, const sb_plot_group *g, const sb_plot_point *p)
{
    const double reals[] = {p->density, p->budget, p->rel_l2};
    const double times[] = {p->select_ms, p->attend_ms, p->total_ms, p->total_ms_lo,
                            p->total_ms_hi};
    fprintf(s->csv, "%d,", g->curves[p->curve].slot);
    sb_sheet_quoted(s->csv, g->curves[p->curve].label);
    fprintf(s->csv, ",%" PRId64, p->tokens);
    for (int i = 0; i < 3; i++)
        sb_sheet_real(s->csv, reals[i]);
    fprintf(s->csv, ",%d", p->pareto);
    for (int i = 0; i < 5; i++)
        sb_sheet_real(s->csv, times[i]);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, p->cells[0]->params);
    fputc('\n', s->csv);
}

static void put_dense(sb_sheet *s, const sb_plot_group *g, int64_t i)
{
    fprintf(s->csv, "%d,\"dense\",%" PRId64 ",1,1", SB_PLOT_DENSE, g->lengths[i]);
    sb_sheet_real(s->csv, g->dense_rel_l2[i]);
    fputs(",0,,", s->csv);
    sb_sheet_real(s->csv, g->dense_ms[i]);
    fputs(",,,\n", s->csv);
}

static int64_t longest(const sb_plot_group *g)
{
    return g->n_lengths > 0 ? g->lengths[g->n_lengths - 1] : 0;
}

/* All settings of the longest length that have the number the picture is about. */
static void put_settings(sb_sheet *s, const sb_plot_group *g, bool latency)
{
    fputs(point_header, s->csv);
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        double y = latency ? p->total_ms : p->rel_l2;
        if (p->tokens != longest(g) || !isfinite(y) || !(y > 0))
            continue;
        put_point(s, g, p);
        s->n_rows++;
    }
    if (s->n_rows > 0)
        put_dense(s, g, g->n_lengths - 1);
}

static sb_status write_error(const sb_plot_group *g, const char *csv_path, const char *key_path,
                             int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    put_settings(&s, g, false);
    SB_TRY(sb_plot_labels(&s, g, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (geometric mean)", longest(g), err));
    SB_TRY(sb_sheet_key(
        &s, 0, err,
        "Budget = (attend + select FLOPs) / dense causal FLOPs. " SB_PLOT_DENSITY_NOTE));
    if (s.n_rows > 0 && isfinite(g->dense_rel_l2[g->n_lengths - 1]))
        SB_TRY(sb_sheet_key(&s, 0, err, "The dense kernel's own error is %.2g.",
                            g->dense_rel_l2[g->n_lengths - 1]));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

static sb_status write_latency(const sb_plot_group *g, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    put_settings(&s, g, true);
    SB_TRY(sb_plot_labels(&s, g, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", longest(g), err));
    SB_TRY(sb_plot_machine(
        &s, g,
        "select + attend of one layer, median and its 95 % interval (below 6 samples: extremes).",
        err));
    SB_TRY(sb_sheet_key(&s, 0, err, "Ideal = dense time x density. " SB_PLOT_DENSITY_NOTE));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

static sb_status write_latency_length(const sb_plot_group *g, const char *csv_path,
                                      const char *key_path, int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    double target = sb_plot_density(g, 0), lo = INFINITY, hi = 0;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs(point_header, s.csv);
    for (int64_t c = 0; c < g->n_curves && g->n_lengths > 1; c++) {
        for (int64_t i = 0; i < g->n_lengths && g->curves[c].slot > 0; i++) {
            const sb_plot_point *p = sb_plot_nearest(g, c, g->lengths[i], target);
            if (!p || !isfinite(p->total_ms))
                continue;
            put_point(&s, g, p);
            lo = fmin(lo, p->density);
            hi = fmax(hi, p->density);
            s.n_rows++;
        }
    }
    for (int64_t i = 0; i < g->n_lengths && s.n_rows > 0; i++)
        put_dense(&s, g, i);
    SB_TRY(sb_plot_labels(&s, g, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", 0, err));
    SB_TRY(sb_plot_machine(
        &s, g,
        "select + attend of one layer, median and its 95 % interval (below 6 samples: extremes).",
        err));
    SB_TRY(
        sb_sheet_key(&s, 0, err,
                     "At each length the setting nearest to density %.2f, within a factor of 1.5: "
                     "%.2f to %.2f here.",
                     target, lo, hi));
    SB_TRY(sb_sheet_key(&s, 0, err, SB_PLOT_DENSITY_NOTE));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

/* ---- curves over rows at nearly equal density ------------------------------------------------ */

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
static int64_t joined(const sb_plot_group *g, int64_t n, bool position)
{
    return position && g->n_curves > CALM_CURVES ? sb_ceil_div(n, CALM_BINS) : 1;
}

static double root_mean_square(const sb_plot_group *g, const sb_plot_point *p, enum sb_series_id id,
                               int64_t from, int64_t to)
{
    double sum = 0;
    for (int64_t i = from; i < to; i++)
        sum += pow(over_layers(g, p, id, i, true), 2);
    return sqrt(sum / (double)(to - from));
}

/* Writes the rows of each curve's series: the query token where each stands, and its value. */
static sb_status put_series(sb_sheet *s, const sb_plot_group *g, enum sb_series_id id, sb_err *err)
{
    sb_status st = SB_OK;
    bool position = id == SB_SERIES_POS_REL_L2;
    double target = sb_plot_density(g, g->n_lengths - 1);
    fprintf(s->csv, "slot,curve,density,query,%s\n", position ? "rel_l2" : "kept_blocks");
    for (int64_t c = 0; c < g->n_curves; c++) {
        const sb_plot_point *p = sb_plot_nearest(g, c, longest(g), target);
        int slot = g->curves[c].slot;
        if (slot == 0 || !p || !whole_series(g, p, id))
            continue;
        const sb_record *r = p->cells[0];
        int64_t n = r->series[id].n, step = joined(g, n, position);
        double width = (double)(position ? r->pos_bin : r->block);
        for (int64_t i = 0; i < n; i += step) {
            int64_t end = i + step < n ? i + step : n;
            fprintf(s->csv, "%d,", slot);
            sb_sheet_quoted(s->csv, g->curves[c].label);
            sb_sheet_real(s->csv, p->density);
            sb_sheet_real(s->csv, (double)(i + end) / 2 * width);
            sb_sheet_real(s->csv, step > 1 ? root_mean_square(g, p, id, i, end)
                                           : over_layers(g, p, id, i, position));
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
        "factor of 1.5: left out).",
        sb_plot_density(g, g->n_lengths - 1));
}

static sb_status write_position(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    SB_TRY(put_series(&s, g, SB_SERIES_POS_REL_L2, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (geometric mean)", longest(g), err));
    SB_TRY(chosen_note(&s, g, err));
    if (g->n_curves > CALM_CURVES)
        SB_TRY(sb_sheet_key(&s, 0, err,
                            "Bins are joined into at most %d, by their root mean square.",
                            (int)CALM_BINS));
    SB_TRY(sb_sheet_key(
        &s, 0, err, "Errors below a hundredth of the largest are cut off. " SB_PLOT_DENSITY_NOTE));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

static sb_status write_schedules(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                 int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    SB_TRY(put_series(&s, g, SB_SERIES_BUDGET, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", longest(g), err));
    SB_TRY(chosen_note(&s, g, err));
    SB_TRY(sb_sheet_key(&s, 0, err, "Kept blocks: mean over heads, forced blocks included."));
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

static sb_status write_maps(const sb_plot_group *g, const char *csv_path, const char *key_path,
                            int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    int64_t layer = g->n_layers > 0 ? (g->n_layers - 1) / 2 : 0;
    double target = sb_plot_density(g, g->n_lengths - 1);
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,query,key,share\n", s.csv);
    for (int64_t c = 0; c < g->n_curves; c++) {
        const sb_plot_point *p = sb_plot_nearest(g, c, longest(g), target);
        int slot = g->curves[c].slot;
        if (slot == 0 || !p)
            continue;
        const sb_record *r = p->cells[layer];
        if (r->map_side == 0 || r->series[SB_SERIES_PATTERN_MAP].n != r->map_side * r->map_side)
            continue;
        put_map(&s, slot, r);
        SB_TRY(sb_sheet_key(&s, slot, err, "%s  (%.3f)", g->curves[c].label, r->density));
    }
    SB_TRY(sb_plot_caption(&s, g, &g->layers[layer], 1, "", longest(g), err));
    SB_TRY(chosen_note(&s, g, err));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

#define NEEDS_FIDELITY "fidelity of a sparse method"
#define NEEDS_LATENCY "latency of a sparse method"

const sb_figure sb_figures[SB_N_FIGURES] = {
    {"error_flops", NEEDS_FIDELITY, write_error},
    {"error_density", NEEDS_FIDELITY, write_error},
    {"latency_density", NEEDS_LATENCY, write_latency},
    {"latency_length", NEEDS_LATENCY " at two lengths or more", write_latency_length},
    {"speedup_length", NEEDS_LATENCY " at two lengths or more", sb_plot_write_speedup},
    {"error_position", NEEDS_FIDELITY " by position", write_position},
    {"schedules", "budgets by row of a sparse method", write_schedules},
    {"pattern_maps", "pattern maps of a sparse method", write_maps},
    {"throughput", NEEDS_LATENCY, NULL},
};
