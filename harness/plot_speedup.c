/* Data of the speedup figure: what a method saves at each length, and what choosing costs it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/plot_caption.h"

/* A curve at one length. */
typedef struct stop {
    const sb_plot_point *point;
    double speedup;
} stop;

static bool stop_at(const sb_plot_group *g, int64_t curve, int64_t i, double density, stop *at)
{
    at->point = sb_plot_nearest(g, curve, g->lengths[i], density);
    at->speedup = at->point ? sb_plot_dense_ms(g, curve, i) / at->point->total_ms : NAN;
    return isfinite(at->speedup) && at->speedup > 0;
}

/* Between two lengths by their logarithms. */
void sb_plot_break_even(const sb_plot_group *g, int64_t curve, double density, char *buf,
                        size_t bytes)
{
    stop at, before = {0};
    int64_t first = 0, crossing = 0;
    bool ahead = false;
    for (int64_t i = 0; i < g->n_lengths; i++) {
        if (!stop_at(g, curve, i, density, &at))
            continue;
        if (first == 0)
            first = g->lengths[i];
        if (at.speedup < 1) {
            ahead = false;
        } else if (!ahead) {
            ahead = true;
            crossing = g->lengths[i];
            if (before.point) {
                double share = log(1 / before.speedup) / log(at.speedup / before.speedup);
                double from = (double)before.point->tokens;
                crossing = (int64_t)(from * pow((double)crossing / from, share));
            }
        }
        before = at;
    }
    if (!ahead)
        (void)snprintf(buf, bytes, "> %" PRId64, before.point ? before.point->tokens : 0);
    else if (crossing == first)
        (void)snprintf(buf, bytes, "< %" PRId64, first);
    else
        (void)snprintf(buf, bytes, "%" PRId64, crossing);
}

/* Of two runs both, "3000 | > 8192", so that a setting has one line in the key. */
static void break_evens(const sb_plot_group *g, int64_t curve, double density, char *buf,
                        size_t bytes)
{
    char one[32];
    size_t used = 0;
    int64_t twin = g->curves[curve].twin, own = twin >= 0 ? twin : curve;
    for (int64_t c = 0; c < g->n_curves; c++) {
        if (c != own && g->curves[c].twin != own)
            continue;
        sb_plot_break_even(g, c, density, one, sizeof one);
        used += (size_t)snprintf(buf + used, bytes - used, "%s%s", used > 0 ? " | " : "", one);
    }
}

static sb_status put_curve(sb_sheet *s, const sb_plot_group *g, int64_t curve, double density,
                           sb_err *err)
{
    stop at;
    char when[64];
    int64_t before = s->n_rows;
    for (int64_t i = 0; i < g->n_lengths; i++) {
        if (!stop_at(g, curve, i, density, &at))
            continue;
        const sb_plot_point *p = at.point;
        fprintf(s->csv, "%d,", g->curves[curve].slot);
        sb_sheet_quoted(s->csv, g->curves[curve].label);
        fprintf(s->csv, ",%" PRId64, p->tokens);
        sb_sheet_real(s->csv, p->density);
        sb_sheet_real(s->csv, at.speedup);
        sb_sheet_real(s->csv, at.speedup * p->total_ms / p->total_ms_hi);
        sb_sheet_real(s->csv, at.speedup * p->total_ms / p->total_ms_lo);
        sb_sheet_real(s->csv, p->select_ms);
        sb_sheet_real(s->csv, p->attend_ms);
        sb_sheet_real(s->csv, 100 * p->select_ms / p->total_ms);
        sb_sheet_real(s->csv, 100 * p->select_ms / sb_plot_dense_ms(g, curve, i));
        fputc('\n', s->csv);
        s->n_rows++;
    }
    if (s->n_rows == before)
        return SB_OK;
    break_evens(g, curve, density, when, sizeof when);
    return sb_sheet_key(s, g->curves[curve].slot, err, "%s  (%s)", g->curves[curve].label, when);
}

sb_status sb_plot_write_speedup(const sb_plot_group *g, const char *csv_path, const char *key_path,
                                int64_t *n_rows, sb_err *err)
{
    sb_sheet s;
    sb_status st = SB_OK;
    double target = sb_plot_density(g, 0);
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,curve,tokens,density,speedup,speedup_lo,speedup_hi,"
          "select_ms,attend_ms,select_share,select_of_dense\n",
          s.csv);
    for (int64_t c = 0; c < g->n_curves && g->n_lengths > 1; c++)
        if (g->curves[c].slot > 0)
            SB_TRY(put_curve(&s, g, c, target, err));
    SB_TRY(sb_plot_caption(&s, g, g->layers, g->n_layers, " (mean)", 0, err));
    SB_TRY(sb_plot_machine(
        &s, g,
        "Speedup = dense time / (select + attend), medians of the same rounds; bars: dense "
        "time / the 95 % interval of select + attend.",
        err));
    SB_TRY(sb_sheet_key(&s, 0, err,
                        "At each length the setting nearest to density %.2f, within a factor of "
                        "1.5. " SB_PLOT_DENSITY_NOTE,
                        target));
    SB_TRY(sb_sheet_key(&s, 0, err,
                        "In brackets: the length, in tokens, from which on a curve is ahead of "
                        "dense%s.",
                        g->n_runs > 1 ? ", in each run that has it" : ""));
    SB_TRY(sb_plot_omissions(&s, g, err));
out:
    *n_rows = s.n_rows;
    return sb_sheet_close(&s, st, csv_path, err);
}
