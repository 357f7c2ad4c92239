/* Which curve errs least at equal cost: at each density (or budget, where methods were matched by
 * it) at which several curves have a setting. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/paired.h"
#include "harness/report_levels.h"
#include "harness/report_text.h"
#include "harness/report_view.h"

static bool has_bounds(const sb_plot_group *g)
{
    for (int64_t c = 0; c < g->n_curves; c++)
        if (sb_report_is_bound(&g->curves[c]))
            return true;
    return false;
}

/* The least error of a bound's curves at a cost; NaN where it has none there. */
static double bound_error(const sb_report_levels *v, double at, const char *method)
{
    double least = NAN;
    for (int64_t c = 0; c < v->g->n_curves; c++) {
        const sb_plot_point *p = sb_report_point_at(v, c, at);
        if (p && strcmp(v->g->curves[c].first->method, method) == 0)
            least = fmin(least, p->rel_l2);
    }
    return least;
}

/* ---- tables ----------------------------------------------------------------------------- */

static const char *cost_name(const sb_report_levels *v)
{
    return v->by_flops ? "budget" : "density";
}

static const char *error_name(const sb_report_levels *v)
{
    return sb_report_is_model(v->g) ? "KL" : "rel_l2";
}

/* Texts are a sample of others, and a ratio paired over them has an interval. */
static void put_ratio(FILE *out, const sb_plot_group *g, const sb_plot_point *p,
                      const sb_plot_point *to)
{
    sb_paired pairs = {0};
    for (int64_t l = 0; l < g->n_layers && sb_report_is_model(g); l++)
        sb_paired_add(&pairs, p->cells[l]->rel_l2, to->cells[l]->rel_l2);
    sb_ratio ratio = sb_paired_ratio(&pairs);
    fprintf(out, "<td>%.2f×", p->rel_l2 / to->rel_l2);
    if (isfinite(ratio.lo))
        fprintf(out, " (%.2f to %.2f)", ratio.lo, ratio.hi);
    fputs("</td>", out);
}

static void put_best_row(FILE *out, const sb_report_levels *v, const sb_report_level *row)
{
    const sb_plot_point *best = row->best, *next = row->next;
    double at = row->at;
    fprintf(out, "<tr><th scope=\"row\">%.3g</th>", at);
    sb_report_text_cell(out, v->g->curves[best->curve].label);
    sb_report_real_cell(out, best->rel_l2, "");
    sb_report_text_cell(out, v->g->curves[next->curve].label);
    put_ratio(out, v->g, next, best);
    fprintf(out, "<td>%" PRId64 "</td>", row->n_sharing);
    if (has_bounds(v->g)) {
        sb_report_real_cell(out, bound_error(v, at, "oracle"), "");
        sb_report_real_cell(out, bound_error(v, at, "random"), "");
    }
    fputs("</tr>\n", out);
}

static void put_best_table(FILE *out, const sb_report_levels *v, double dense)
{
    bool model = sb_report_is_model(v->g);
    const char *heads[] = {cost_name(v), "least error", error_name(v), "next",
                           "its error",  "curves",      "oracle",      "random"};
    bool bounds = has_bounds(v->g);
    char reference[80] = "", note[600];
    if (isfinite(dense))
        (void)snprintf(reference, sizeof reference, " Dense attention itself: %.3g.", dense);
    (void)snprintf(
        note, sizeof note,
        "%s, geometric mean over %s, of settings within %.0f %% of each %s. %s%s%s%s",
        error_name(v), model ? "texts" : "layers", 100 * (SB_REPORT_TOLERANCE - 1), cost_name(v),
        v->by_flops ? "Budget = (FLOPs of attending + of selecting) / dense FLOPs."
                    : "Density = kept / all causal blocks, forced blocks included.",
        model ? " It is of all layers and heads; in decoding, of the prefill alone. In "
                "brackets 95 % t intervals, paired over texts (four or more)."
              : "",
        bounds ? " Oracle and random selection are bounds, and never the best." : "", reference);
    sb_report_open_table(out, v->g, v->tokens, "Least error at equal cost", note, heads,
                         bounds ? 8 : 6);
    for (int i = 0; i < v->n; i++)
        put_best_row(out, v, &v->level[i]);
    sb_report_close_table(out);
}

static void put_curve_row(FILE *out, const sb_report_levels *v, int64_t curve)
{
    fputs("<tr>", out);
    sb_report_label(out, v->g->curves[curve].label);
    for (int i = 0; i < v->n; i++) {
        const sb_plot_point *p = sb_report_point_at(v, curve, v->level[i].at),
                            *best = v->level[i].best;
        if (!p)
            fputs("<td>–</td>", out);
        else if (p == best)
            fprintf(out, "<td><strong>%.3g</strong></td>", p->rel_l2);
        else
            fprintf(out, "<td>%.3g (%.2f×)</td>", p->rel_l2, p->rel_l2 / best->rel_l2);
    }
    fputs("</tr>\n", out);
}

static bool has_a_level(const sb_report_levels *v, int64_t curve)
{
    for (int i = 0; i < v->n; i++)
        if (sb_report_point_at(v, curve, v->level[i].at))
            return true;
    return false;
}

/* All curves against the best: one column for each cost. */
static void put_all(FILE *out, const sb_report_levels *v)
{
    char cells[SB_REPORT_LEVELS][24], note[80];
    const char *heads[SB_REPORT_LEVELS + 1] = {"curve"};
    for (int i = 0; i < v->n; i++) {
        (void)snprintf(cells[i], sizeof cells[i], "%s %.3g", cost_name(v), v->level[i].at);
        heads[i + 1] = cells[i];
    }
    fputs("<details><summary>Every curve at these costs</summary>\n", out);
    (void)snprintf(note, sizeof note, "%s, and in brackets as a multiple of the best.",
                   error_name(v));
    sb_report_open_table(out, v->g, v->tokens, "Errors at equal cost", note, heads, v->n + 1);
    for (int64_t c = 0; c < v->g->n_curves; c++)
        if (has_a_level(v, c) && !sb_report_is_partial(&v->g->curves[c]))
            put_curve_row(out, v, c);
    sb_report_close_table(out);
    fputs("</details>\n", out);
}

static sb_status put_length(FILE *out, const sb_plot_group *g, int64_t length, sb_err *err)
{
    sb_report_levels v;
    bool longest = length == g->n_lengths - 1;
    sb_status st = sb_report_levels_find(g, g->lengths[length], &v, err);
    if (st != SB_OK || v.n == 0)
        return st;
    if (!longest)
        fprintf(out, "<details><summary>Least error at %" PRId64 " tokens</summary>\n", v.tokens);
    put_best_table(out, &v, g->dense_rel_l2[length]);
    put_all(out, &v);
    fputs(longest ? "" : "</details>\n", out);
    return SB_OK;
}

sb_status sb_report_write_best(FILE *out, const sb_plot_group *g, sb_err *err)
{
    sb_status st = SB_OK;
    for (int64_t i = g->n_lengths - 1; i >= 0 && st == SB_OK; i--)
        st = put_length(out, g, i, err);
    return st;
}
