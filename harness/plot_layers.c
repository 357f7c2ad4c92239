/* Data of the figure of errors by layer: each curve at nearly equal density, and against the first.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/paired.h"
#include "harness/plot_caption.h"

enum { FEWEST_LAYERS = 3 };

/* Error of a over that of b in one layer: over heads where there are enough, else of the whole. */
static sb_ratio against(const sb_record *a, const sb_record *b)
{
    const sb_series *x = &a->series[SB_SERIES_HEAD_REL_L2], *y = &b->series[SB_SERIES_HEAD_REL_L2];
    sb_paired sum = {0};
    if (x->n == y->n)
        sb_paired_add_all(&sum, x->data, y->data, x->n);
    if (sum.n >= SB_PAIRED_MIN)
        return sb_paired_ratio(&sum);
    sum = (sb_paired){0};
    sb_paired_add(&sum, a->rel_l2, b->rel_l2);
    return sb_paired_ratio(&sum);
}

static void put_layers(sb_sheet *s, const sb_plot_group *g, const sb_plot_point *p,
                       const sb_plot_point *first)
{
    const sb_plot_curve *curve = &g->curves[p->curve];
    for (int64_t l = 0; l < g->n_layers; l++) {
        const sb_record *r = p->cells[l];
        if (!isfinite(r->rel_l2) || !(r->rel_l2 > 0))
            continue;
        sb_ratio to_first = against(r, first->cells[l]);
        fprintf(s->csv, "%d,", curve->slot);
        sb_sheet_quoted(s->csv, curve->label);
        fprintf(s->csv, ",%" PRId64, r->layer);
        sb_sheet_real(s->csv, r->density);
        sb_sheet_real(s->csv, r->rel_l2);
        sb_sheet_real(s->csv, to_first.ratio);
        sb_sheet_real(s->csv, p == first ? NAN : to_first.lo);
        sb_sheet_real(s->csv, p == first ? NAN : to_first.hi);
        fputc('\n', s->csv);
        s->n_rows++;
    }
}

/* Returns the setting that the others are held against: that of the first curve that has one. */
static sb_status put_curves(sb_sheet *s, const sb_plot_group *g, const sb_plot_point **first,
                            sb_err *err)
{
    sb_status st = SB_OK;
    int64_t last = g->n_lengths - 1;
    double target = sb_plot_density(g, last);
    *first = NULL;
    for (int64_t c = 0; c < g->n_curves && g->n_layers >= FEWEST_LAYERS; c++) {
        const sb_plot_point *p =
            g->curves[c].slot > 0 ? sb_plot_nearest(g, c, g->lengths[last], target) : NULL;
        int64_t before = s->n_rows;
        if (!p)
            continue;
        put_layers(s, g, p, *first ? *first : p);
        if (s->n_rows == before)
            continue;
        *first = *first ? *first : p;
        SB_TRY(
            sb_sheet_key(s, g->curves[c].slot, err, "%s  (%.3f)", g->curves[c].label, p->density));
    }
out:
    return st;
}

sb_status sb_plot_write_layers(const sb_plot_group *g, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    const sb_plot_point *first;
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,curve,layer,density,rel_l2,ratio,lo,hi\n", s.csv);
    SB_TRY(put_curves(&s, g, &first, err));
    if (!first)
        goto out;
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, "", first->tokens, err));
    SB_TRY(sb_plot_machine(&s, g, "", err));
    SB_TRY(sb_sheet_key(
        &s, 0, err,
        "In brackets: density of each curve's setting nearest to %.3f (none within a factor of "
        "1.5: left out). " SB_PLOT_DENSITY_NOTE,
        sb_plot_density(g, g->n_lengths - 1)));
    SB_TRY(sb_sheet_key(&s, 0, err,
                        "Ratio: error over that of '%s'; with %d heads or more their geometric "
                        "mean and its 95 %% t interval.",
                        g->curves[first->curve].label, (int)SB_PAIRED_MIN));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}
