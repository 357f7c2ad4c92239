/* Data of the figures over settings, and the table of all figures. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/plot_caption.h"
#include "harness/plot_data.h"
#include "harness/plot_model.h"
#include "harness/plot_sheet.h"

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

static void put_dense(sb_sheet *s, const sb_plot_group *g, int run, int64_t i)
{
    fprintf(s->csv, "%d,\"dense\",%" PRId64 ",1,1", SB_PLOT_DENSE + run, g->lengths[i]);
    sb_sheet_real(s->csv, g->dense_rel_l2[run * g->n_lengths + i]);
    fputs(",0,,", s->csv);
    sb_sheet_real(s->csv, g->dense_ms[run * g->n_lengths + i]);
    fputs(",,,\n", s->csv);
}

/* All settings of the longest length that have the number the picture is about. */
static void put_settings(sb_sheet *s, const sb_plot_group *g, bool latency)
{
    fputs(point_header, s->csv);
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        double y = latency ? p->total_ms : p->rel_l2;
        if (p->tokens != sb_plot_longest(g) || !isfinite(y) || !(y > 0) ||
            (!latency && sb_plot_repeats(g, p->curve, true)))
            continue;
        put_point(s, g, p);
        s->n_rows++;
    }
    for (int k = 0; k < g->n_runs && s->n_rows > 0; k++)
        put_dense(s, g, k, g->n_lengths - 1);
}

static sb_status dense_note(sb_sheet *s, const sb_plot_group *g, sb_err *err)
{
    double own = g->n_lengths > 0 ? g->dense_rel_l2[g->n_lengths - 1] : NAN, other = NAN;
    if (g->n_runs > 1 && g->n_lengths > 0)
        other = g->dense_rel_l2[2 * g->n_lengths - 1];
    if (!isfinite(own))
        return SB_OK;
    if (isfinite(other) && own != other)
        return sb_sheet_key(s, 0, err, "The dense kernel's own error is %.2g in %s and %.2g in %s.",
                            own, g->runs[0].name, other, g->runs[1].name);
    return sb_sheet_key(s, 0, err, "The dense kernel's own error is %.2g.", own);
}

static sb_status write_error(const sb_plot_group *g, const char *csv_path, const char *key_path,
                             const char *note, int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    put_settings(&s, g, false);
    SB_TRY(sb_plot_labels(&s, g, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (geometric mean)", sb_plot_longest(g),
                           err));
    SB_TRY(sb_plot_machine(&s, g, "", err));
    SB_TRY(sb_sheet_key(&s, 0, err, "%s" SB_PLOT_DENSITY_NOTE, note));
    SB_TRY(dense_note(&s, g, err));
    SB_TRY(sb_plot_once(&s, g, true, err));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

static sb_status write_error_flops(const sb_plot_group *g, const char *csv_path,
                                   const char *key_path, int64_t *n_rows, sb_err *err)
{
    return write_error(g, csv_path, key_path,
                       "Budget = (attend + select FLOPs) / dense causal FLOPs. ", n_rows, err);
}

static sb_status write_error_density(const sb_plot_group *g, const char *csv_path,
                                     const char *key_path, int64_t *n_rows, sb_err *err)
{
    return write_error(g, csv_path, key_path, "", n_rows, err);
}

static sb_status write_latency(const sb_plot_group *g, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    put_settings(&s, g, true);
    SB_TRY(sb_plot_labels(&s, g, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", sb_plot_longest(g), err));
    SB_TRY(sb_plot_machine(&s, g, SB_PLOT_INTERVAL_NOTE, err));
    SB_TRY(sb_sheet_key(&s, 0, err, "%s" SB_PLOT_DENSITY_NOTE,
                        g->n_runs == 1 ? "Ideal = dense time x density. " : ""));
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
    for (int k = 0; k < g->n_runs && s.n_rows > 0; k++)
        for (int64_t i = 0; i < g->n_lengths; i++)
            put_dense(&s, g, k, i);
    SB_TRY(sb_plot_labels(&s, g, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", 0, err));
    SB_TRY(sb_plot_machine(&s, g, SB_PLOT_INTERVAL_NOTE, err));
    SB_TRY(
        sb_sheet_key(&s, 0, err,
                     "At each length the setting nearest to density %.2f, within a factor of 1.5: "
                     "%.2f to %.2f here. " SB_PLOT_DENSITY_NOTE,
                     target, lo, hi));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}

#define NEEDS_FIDELITY "fidelity of a sparse method"
#define NEEDS_LATENCY "latency of a sparse method"
#define NEEDS_TEXTS "texts read by a model with a sparse method"

const sb_figure sb_figures[SB_N_FIGURES] = {
    {"error_flops", NEEDS_FIDELITY, write_error_flops, true, NULL},
    {"error_density", NEEDS_FIDELITY, write_error_density, true, NULL},
    {"latency_density", NEEDS_LATENCY, write_latency, true, NULL},
    {"latency_length", NEEDS_LATENCY " at two lengths or more", write_latency_length, true, NULL},
    {"speedup_length", NEEDS_LATENCY " at two lengths or more", sb_plot_write_speedup, true, NULL},
    {"error_position", NEEDS_FIDELITY " by position", sb_plot_write_position, true, NULL},
    {"schedules", "budgets by row of a sparse method", sb_plot_write_schedules, true, NULL},
    {"pattern_maps", "pattern maps of a sparse method", sb_plot_write_maps, false, NULL},
    {"paired", NEEDS_FIDELITY " by head of two curves at equal density", sb_plot_write_paired,
     false, NULL},
    {"sweep", NEEDS_FIDELITY " at three values of a parameter, all else equal", sb_plot_write_sweep,
     false, NULL},
    {"error_layer", NEEDS_FIDELITY " in three layers or more", sb_plot_write_layers, false, NULL},
    {"schedule_length", NEEDS_FIDELITY " at six lengths or more", sb_plot_write_lengths, false,
     NULL},
    {"throughput", NEEDS_LATENCY, NULL, false, NULL},
    {"model_density", NEEDS_TEXTS, NULL, false, sb_model_write_density},
    {"model_paired", NEEDS_TEXTS " and its baseline at equal density", NULL, false,
     sb_model_write_paired},
    {"model_rows", NEEDS_TEXTS " in parts of the rows, the last one too", NULL, false,
     sb_model_write_rows},
    {"model_layers", NEEDS_TEXTS " in single layers or heads", NULL, false, sb_model_write_layers},
    {"model_tasks", "tasks by a sparse method and by dense", NULL, false, sb_model_write_tasks},
    {"model_length", NEEDS_TEXTS " and its baseline at two lengths or more", NULL, false,
     sb_model_write_length},
    {"model_residual", NEEDS_TEXTS " and residual.csv", NULL, false, sb_model_write_residual},
    {"model_position", NEEDS_TEXTS " and positions.csv", NULL, false, sb_model_write_position},
};
