/* Data of the figure of paired ratios: each curve's error over that of the first, head by head. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/paired.h"
#include "harness/plot_caption.h"

enum { MOST_DENSITIES = 6 };

/* Densities are equal up to this share. */
static const double tolerance = .05;

/* The settings of the baseline that others are held against, by density, and where to. */
typedef struct frame {
    const sb_plot_group *g;
    const sb_plot_point *base[MOST_DENSITIES];
    int n_base;
    int64_t n_pairs_lo, n_pairs_hi;
    double apart; /* most that two densities differ by, as a share */
} frame;

static const sb_plot_point *partner(const sb_plot_group *g, int64_t curve,
                                    const sb_plot_point *base)
{
    const sb_plot_point *p = sb_plot_nearest(g, curve, base->tokens, base->density);
    return p && fabs(p->density / base->density - 1) <= tolerance ? p : NULL;
}

static sb_paired pair(const sb_plot_group *g, const sb_plot_point *p, const sb_plot_point *base)
{
    sb_paired sum = {0};
    for (int64_t l = 0; l < g->n_layers; l++) {
        const sb_series *x = &p->cells[l]->series[SB_SERIES_HEAD_REL_L2];
        const sb_series *y = &base->cells[l]->series[SB_SERIES_HEAD_REL_L2];
        if (x->n == y->n)
            sb_paired_add_all(&sum, x->data, y->data, x->n);
    }
    return sum;
}

static bool has_partner(const sb_plot_group *g, const sb_plot_point *base)
{
    for (int64_t c = 1; c < g->n_curves; c++) {
        const sb_plot_point *p = g->curves[c].slot > 0 ? partner(g, c, base) : NULL;
        if (p && pair(g, p, base).n > 0)
            return true;
    }
    return false;
}

/* Settings of the first curve at the longest length that another curve can be held against; of
 * many, those spread over all. */
static void find_base(frame *f)
{
    const sb_plot_group *g = f->g;
    int64_t n = 0, seen = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < g->n_points; i++) {
            const sb_plot_point *p = &g->points[i];
            if (p->curve != 0 || p->tokens != g->lengths[g->n_lengths - 1] || !has_partner(g, p))
                continue;
            int64_t most = n < MOST_DENSITIES ? n : MOST_DENSITIES;
            if (pass == 0)
                n++;
            else if (most == 1 || seen++ == f->n_base * (n - 1) / (most - 1))
                f->base[f->n_base++] = p;
        }
    }
}

static void put_ratio(sb_sheet *s, frame *f, int64_t curve, int place, int d)
{
    const sb_plot_point *p = partner(f->g, curve, f->base[d]);
    if (!p)
        return;
    sb_paired sum = pair(f->g, p, f->base[d]);
    if (sum.n == 0)
        return;
    sb_ratio r = sb_paired_ratio(&sum);
    fprintf(s->csv, "%d,%d,", d + 1, place);
    sb_sheet_quoted(s->csv, f->g->curves[curve].label);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, f->g->curves[0].label);
    sb_sheet_real(s->csv, f->base[d]->density);
    sb_sheet_real(s->csv, p->density);
    sb_sheet_real(s->csv, r.ratio);
    sb_sheet_real(s->csv, r.lo);
    sb_sheet_real(s->csv, r.hi);
    fprintf(s->csv, ",%" PRId64 ",", r.n);
    sb_sheet_quoted(s->csv, p->cells[0]->params);
    fputc('\n', s->csv);
    f->apart = fmax(f->apart, fabs(p->density / f->base[d]->density - 1));
    if (s->n_rows++ == 0)
        f->n_pairs_lo = r.n;
    f->n_pairs_lo = r.n < f->n_pairs_lo ? r.n : f->n_pairs_lo;
    f->n_pairs_hi = r.n > f->n_pairs_hi ? r.n : f->n_pairs_hi;
}

static sb_status put_captions(sb_sheet *s, const frame *f, sb_err *err)
{
    const sb_plot_group *g = f->g;
    sb_status st = SB_OK;
    char pairs[48];
    for (int d = 0; d < f->n_base; d++)
        SB_TRY(sb_sheet_key(s, d + 1, err, "%.3f", f->base[d]->density));
    (void)snprintf(pairs, sizeof pairs,
                   f->n_pairs_lo < f->n_pairs_hi ? "%" PRId64 " to %" PRId64 : "%" PRId64,
                   f->n_pairs_lo, f->n_pairs_hi);
    SB_TRY(sb_plot_caption(s, g, g->layers, g->n_layers, "", g->lengths[g->n_lengths - 1], err));
    SB_TRY(sb_plot_machine(s, g, "", err));
    SB_TRY(sb_sheet_key(
        s, 0, err,
        "Relative L2 error of a curve over that of '%s', paired over layers and heads: geometric "
        "mean and its 95 %% t interval over %s pairs%s.",
        g->curves[0].label, pairs, f->n_pairs_lo < SB_PAIRED_MIN ? " (too few for one)" : ""));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Compared where densities differ by 5 %% at most; here %.1f %% at "
                        "most. " SB_PLOT_DENSITY_NOTE,
                        100 * f->apart));
    SB_TRY(sb_plot_omissions(s, g, err));
out:
    return st;
}

sb_status sb_plot_write_paired(const sb_plot_group *g, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    frame f = {.g = g};
    int place = 0;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    find_base(&f);
    fputs("slot,place,curve,baseline,density,own_density,ratio,lo,hi,pairs,setting\n", s.csv);
    for (int64_t c = 1; c < g->n_curves; c++) {
        int64_t before = s.n_rows;
        for (int d = 0; d < f.n_base && g->curves[c].slot > 0; d++)
            put_ratio(&s, &f, c, place + 1, d);
        place += s.n_rows > before;
    }
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &f, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}
