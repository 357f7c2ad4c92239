/* Data of the figure of sweeps: error, and cost of selecting, against a parameter; a panel for
 * each. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "harness/plot_caption.h"
#include "harness/plot_lines.h"
#include "methods/method.h"

enum { MOST_PANELS = 4, MOST_LINES = 9 /* in a panel */, MOST_NAMES = 4 * SB_MAX_PARAMS };

/* What one picture shows. */
typedef struct sweep {
    sb_sweep_panel panels[MOST_PANELS];
    int n_panels, n_hidden;
    int64_t n_thinned; /* lines left out of the panels */
    int n_slots;       /* used so far */
    bool timed;
} sweep;

static bool known(const sb_span *names, int n_names, sb_span name)
{
    for (int i = 0; i < n_names; i++)
        if (sb_span_same(names[i], name))
            return true;
    return false;
}

/* Whether curves have as many values of it as a line needs: a quick look before the search. */
static bool is_swept(const sb_plot_group *g, sb_span name)
{
    sb_span values[SB_SWEEP_VALUES];
    int n = 0;
    for (int64_t c = 0; c < g->n_curves && n < SB_SWEEP_VALUES; c++) {
        sb_span value = sb_param_value(g->curves[c].first->params, name);
        if (value.n > 0 && !known(values, n, value))
            values[n++] = value;
    }
    return n == SB_SWEEP_VALUES;
}

/* Panels of all parameters along which there is a line, in the order in which records name them. */
static sb_status find_panels(const sb_plot_group *g, sweep *w, sb_err *err)
{
    sb_status st = SB_OK;
    sb_span names[MOST_NAMES], name, value;
    int n_names = 0;
    sb_sweep_panel p = {0};
    for (int64_t c = 0; c < g->n_curves; c++) {
        for (const char *at = g->curves[c].first->params; sb_param_next(&at, &name, &value);) {
            if (n_names == MOST_NAMES || known(names, n_names, name))
                continue;
            names[n_names++] = name;
            if (!is_swept(g, name))
                continue;
            SB_TRY(sb_sweep_find(g, name, &p, err));
            w->n_hidden += p.n_lines > 0 && w->n_panels == MOST_PANELS;
            if (p.n_lines > 0 && w->n_panels < MOST_PANELS)
                w->panels[w->n_panels++] = p;
            else
                sb_free(p.stops);
            p.stops = NULL;
        }
    }
out:
    sb_free(p.stops);
    return st;
}

/* ---- labels --------------------------------------------------------------------------------- */

/* The stop that opens a line. */
static const sb_sweep_stop *opens(const sb_sweep_panel *p, int64_t line)
{
    const sb_sweep_stop *s = p->stops;
    while (s->line < line)
        s++;
    return s;
}

/* Labels what tells the panel's lines apart, into curves [n_lines]; records [n_lines] are room. */
static sb_status label_lines(const sb_sweep_panel *p, sb_plot_curve *curves, sb_record *records,
                             sb_err *err)
{
    sb_status st = SB_OK;
    for (int64_t k = 0; k < p->n_lines; k++) {
        const sb_record *r = opens(p, k)->point->cells[0];
        curves[k].first = &records[k];
        records[k].method = r->method;
        records[k].params = sb_param_without(r->params, p->name);
        SB_CHECK(records[k].params, err, SB_NO_MEMORY, "out of memory for labels");
    }
    SB_TRY(sb_plot_label(curves, p->n_lines, err));
out:
    return st;
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* Selection's share of dense FLOPs over layers, %. */
static double select_share(const sb_plot_group *g, const sb_plot_point *p)
{
    double select = 0, dense = 0;
    for (int64_t l = 0; l < g->n_layers; l++) {
        select += p->cells[l]->flops_select;
        dense += p->cells[l]->flops_dense;
    }
    return 100 * select / dense;
}

static sb_status put_line(sb_sheet *s, const sb_plot_group *g, sweep *w, int panel, int64_t line,
                          const char *label, sb_err *err)
{
    int slot = ++w->n_slots;
    const sb_sweep_panel *p = &w->panels[panel];
    double lo = INFINITY, hi = 0;
    for (int64_t i = 0; i < p->n_stops; i++) {
        const sb_plot_point *point = p->stops[i].point;
        if (p->stops[i].line != line)
            continue;
        fprintf(s->csv, "%d,%d,%.*s,%s,", slot, panel + 1, p->name.n, p->name.at, p->scale);
        sb_sheet_quoted(s->csv, label);
        sb_sheet_real(s->csv, p->stops[i].x);
        sb_sheet_real(s->csv, point->density);
        sb_sheet_real(s->csv, point->rel_l2);
        sb_sheet_real(s->csv, select_share(g, point));
        sb_sheet_real(s->csv, 100 * point->select_ms / point->total_ms);
        fputc(',', s->csv);
        sb_sheet_quoted(s->csv, point->cells[0]->params);
        fputc('\n', s->csv);
        s->n_rows++;
        w->timed |= isfinite(point->total_ms);
        lo = fmin(lo, point->density);
        hi = fmax(hi, point->density);
    }
    if (hi - lo < .0015)
        return sb_sheet_key(s, slot, err, "%s  (%.3f)", label, (lo + hi) / 2);
    return sb_sheet_key(s, slot, err, "%s  (%.3f to %.3f)", label, lo, hi);
}

static sb_status put_panel(sb_sheet *s, const sb_plot_group *g, sweep *w, int panel, sb_err *err)
{
    sb_status st = SB_OK;
    sb_sweep_panel *p = &w->panels[panel];
    int64_t fair = SB_PLOT_CURVES / w->n_panels;
    w->n_thinned += p->n_lines;
    sb_sweep_thin(p, fair < MOST_LINES ? fair : MOST_LINES);
    w->n_thinned -= p->n_lines;
    sb_plot_curve *curves = sb_alloc(p->n_lines, sizeof *curves);
    sb_record *records = sb_alloc(p->n_lines, sizeof *records);
    SB_CHECK(curves && records, err, SB_NO_MEMORY, "out of memory for labels");
    SB_TRY(label_lines(p, curves, records, err));
    for (int64_t k = 0; k < p->n_lines; k++)
        SB_TRY(put_line(s, g, w, panel, k, curves[k].label, err));
out:
    for (int64_t k = 0; curves && records && k < p->n_lines; k++) {
        sb_free(curves[k].label);
        sb_free(records[k].params);
    }
    sb_free(records);
    sb_free(curves);
    return st;
}

static sb_status put_captions(sb_sheet *s, const sb_plot_group *g, const sweep *w, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_plot_caption(s, g, g->layers, g->n_layers, " (errors: geometric mean)",
                           g->lengths[g->n_lengths - 1], err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Settings of a line differ in this parameter alone and have the same "
                        "target of density; in brackets what it came to. " SB_PLOT_DENSITY_NOTE));
    SB_TRY(sb_sheet_key(s, 0, err, "Cost of selecting: its FLOPs / dense causal FLOPs."));
    SB_TRY(sb_plot_machine(
        s, g, w->timed ? "Dotted: selection's time / that of select and attend." : "", err));
    if (w->n_hidden > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Parameters not shown: %d.", w->n_hidden));
    if (w->n_thinned > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Lines not shown: %" PRId64 ".", w->n_thinned));
    if (g->n_incomplete > 0)
        SB_TRY(sb_sheet_key(s, 0, err, "Settings left out because a layer is missing: %" PRId64 ".",
                            g->n_incomplete));
out:
    return st;
}

sb_status sb_plot_write_sweep(const sb_plot_group *g, const char *csv_path, const char *key_path,
                              int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sweep w = {0};
    sb_status st = SB_OK;
    SB_TRY(find_panels(g, &w, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,panel,parameter,scale,curve,x,density,rel_l2,select_flops,select_time,setting\n",
          s.csv);
    for (int i = 0; i < w.n_panels; i++)
        SB_TRY(put_panel(&s, g, &w, i, err));
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, g, &w, err));
out:
    *n_rows = s.n_rows;
    for (int i = 0; i < w.n_panels; i++)
        sb_free(w.panels[i].stops);
    return sb_sheet_close(&s, st, csv_path, err);
}
