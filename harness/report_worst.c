/* Where each curve errs most: by layer, by head and by query position. */
#include <inttypes.h>
#include <math.h>

#include "harness/report_text.h"
#include "harness/report_view.h"

static const double density = 0.25;

/* The largest element of a series over the layers of a setting. */
typedef struct place {
    const sb_record *record; /* NULL where no layer has the series */
    int64_t index;
    double error;
} place;

static place largest(const sb_plot_group *g, const sb_plot_point *p, enum sb_series_id id)
{
    place worst = {0};
    for (int64_t l = 0; l < g->n_layers; l++) {
        const sb_series *s = &p->cells[l]->series[id];
        for (int64_t i = 0; i < s->n; i++)
            if (isfinite(s->data[i]) && (!worst.record || s->data[i] > worst.error))
                worst = (place){p->cells[l], i, s->data[i]};
    }
    return worst;
}

static void put_layer(FILE *out, const sb_plot_group *g, const sb_plot_point *p)
{
    const sb_record *worst = p->cells[0];
    for (int64_t l = 1; l < g->n_layers; l++)
        if (p->cells[l]->rel_l2 > worst->rel_l2)
            worst = p->cells[l];
    fprintf(out, "<td>layer %" PRId64 ": %.3g</td>", worst->layer, worst->rel_l2);
}

static void put_head(FILE *out, const sb_plot_group *g, const sb_plot_point *p)
{
    place at = largest(g, p, SB_SERIES_HEAD_REL_L2);
    if (at.record)
        fprintf(out, "<td>layer %" PRId64 ", head %" PRId64 ": %.3g</td>", at.record->layer,
                at.index, at.error);
    else
        sb_report_text_cell(out, "–");
}

static void put_position(FILE *out, const sb_plot_group *g, const sb_plot_point *p)
{
    place at = largest(g, p, SB_SERIES_POS_REL_L2);
    if (!at.record) {
        sb_report_text_cell(out, "–");
        return;
    }
    int64_t from = at.index * at.record->pos_bin, to = from + at.record->pos_bin;
    fprintf(out, "<td>layer %" PRId64 ", tokens %" PRId64 " to %" PRId64 ": %.3g</td>",
            at.record->layer, from, (to < p->tokens ? to : p->tokens) - 1, at.error);
}

void sb_report_write_worst(FILE *out, const sb_plot_group *g)
{
    static const char *const heads[] = {"curve", "density", "worst layer", "worst head",
                                        "worst query position"};
    int64_t tokens = g->lengths[g->n_lengths - 1];
    bool open = false;
    for (int64_t c = 0; c < g->n_curves; c++) {
        const sb_plot_point *p = sb_plot_nearest(g, c, tokens, density);
        if (g->curves[c].slot == 0 || !p || !isfinite(p->rel_l2))
            continue;
        if (!open)
            sb_report_open_table(out, g, tokens, "Where errors are largest",
                                 "rel_l2 of each curve's setting "
                                 "nearest to density 0.25 and within a factor of 1.5.",
                                 heads, sizeof heads / sizeof heads[0]);
        open = true;
        fputs("<tr>", out);
        sb_report_label(out, g->curves[c].label);
        sb_report_real_cell(out, p->density, "");
        put_layer(out, g, p);
        put_head(out, g, p);
        put_position(out, g, p);
        fputs("</tr>\n", out);
    }
    if (open)
        sb_report_close_table(out);
}
