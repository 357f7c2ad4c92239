/* Which curve errs least at equal cost: at each density (or budget, where methods were matched by
 * it) at which several curves have a setting. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "harness/paired.h"
#include "harness/report_text.h"
#include "harness/report_view.h"

enum { MAX_LEVELS = 8 };
static const double tolerance = 1.05; /* costs within this factor are equal */

/* The settings of a group at one length, and the costs that curves share there, ascending. */
typedef struct levels {
    const sb_plot_group *g;
    int64_t tokens;
    bool matched, by_flops; /* whether settings were matched to others, and by what */
    int n;
    double at[MAX_LEVELS];
} levels;

/* ---- costs that curves share ------------------------------------------------------------ */

/* What a setting was matched to: "density: stem mu=1", or nothing. */
static const char *target_of(const sb_plot_point *p)
{
    return p->cells[0]->match_target;
}

static void find_matched(levels *v)
{
    for (int64_t i = 0; i < v->g->n_points; i++) {
        const char *target = target_of(&v->g->points[i]);
        v->matched |= *target != '\0';
        v->by_flops |= strncmp(target, "flops", 5) == 0;
    }
}

static double cost(const levels *v, const sb_plot_point *p)
{
    return v->by_flops ? p->budget : p->density;
}

static double apart(double a, double b)
{
    return fabs(log(a / b));
}

static bool competes(const levels *v, const sb_plot_point *p)
{
    return p->tokens == v->tokens && isfinite(p->rel_l2) && cost(v, p) > 0 &&
           !sb_report_is_bound(&v->g->curves[p->curve]) &&
           !sb_report_is_partial(&v->g->curves[p->curve]);
}

/* Curves with a setting at that cost; points come by curve. */
static int64_t n_sharing(const levels *v, double at)
{
    int64_t n = 0, last = -1;
    for (int64_t i = 0; i < v->g->n_points; i++) {
        const sb_plot_point *p = &v->g->points[i];
        if (p->curve != last && competes(v, p) && apart(cost(v, p), at) <= log(tolerance)) {
            n++;
            last = p->curve;
        }
    }
    return n;
}

static bool overlaps(const levels *v, double at)
{
    for (int i = 0; i < v->n; i++)
        if (apart(v->at[i], at) <= 2 * log(tolerance))
            return true;
    return false;
}

static void insert(levels *v, double at)
{
    int i = v->n++;
    for (; i > 0 && v->at[i - 1] > at; i--)
        v->at[i] = v->at[i - 1];
    v->at[i] = at;
}

/* Costs that most curves share first. Among equals the first curve's, which others are matched to.
 */
static void find_levels(levels *v)
{
    for (;;) {
        int64_t most = 1;
        double best = 0;
        for (int64_t i = 0; i < v->g->n_points && v->n < MAX_LEVELS; i++) {
            const sb_plot_point *p = &v->g->points[i];
            if (!competes(v, p) || overlaps(v, cost(v, p)) || (v->matched && *target_of(p)))
                continue;
            int64_t n = n_sharing(v, cost(v, p));
            if (n > most) {
                most = n;
                best = cost(v, p);
            }
        }
        if (most == 1)
            return;
        insert(v, best);
    }
}

/* ---- curves at a cost ------------------------------------------------------------------- */

static const sb_plot_point *point_at(const levels *v, int64_t curve, double at)
{
    const sb_plot_point *best = NULL;
    for (int64_t i = 0; i < v->g->n_points; i++) {
        const sb_plot_point *p = &v->g->points[i];
        if (p->curve != curve || p->tokens != v->tokens || !isfinite(p->rel_l2) ||
            !(apart(cost(v, p), at) <= log(tolerance)))
            continue;
        if (!best || apart(cost(v, p), at) < apart(cost(v, best), at))
            best = p;
    }
    return best;
}

/* The curve with the least error at a cost among those that compete, but `but`. */
static const sb_plot_point *least_error(const levels *v, double at, const sb_plot_point *but)
{
    const sb_plot_point *best = NULL;
    for (int64_t c = 0; c < v->g->n_curves; c++) {
        const sb_plot_point *p = point_at(v, c, at);
        if (p && competes(v, p) && (!but || p->curve != but->curve) &&
            (!best || p->rel_l2 < best->rel_l2))
            best = p;
    }
    return best;
}

static bool has_bounds(const sb_plot_group *g)
{
    for (int64_t c = 0; c < g->n_curves; c++)
        if (sb_report_is_bound(&g->curves[c]))
            return true;
    return false;
}

/* The least error of a bound's curves at a cost; NaN where it has none there. */
static double bound_error(const levels *v, double at, const char *method)
{
    double least = NAN;
    for (int64_t c = 0; c < v->g->n_curves; c++) {
        const sb_plot_point *p = point_at(v, c, at);
        if (p && strcmp(v->g->curves[c].first->method, method) == 0)
            least = fmin(least, p->rel_l2);
    }
    return least;
}

/* ---- tables ----------------------------------------------------------------------------- */

static const char *cost_name(const levels *v)
{
    return v->by_flops ? "budget" : "density";
}

static const char *error_name(const levels *v)
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

static void put_best_row(FILE *out, const levels *v, double at)
{
    const sb_plot_point *best = least_error(v, at, NULL), *next = least_error(v, at, best);
    fprintf(out, "<tr><th scope=\"row\">%.3g</th>", at);
    sb_report_text_cell(out, v->g->curves[best->curve].label);
    sb_report_real_cell(out, best->rel_l2, "");
    sb_report_text_cell(out, v->g->curves[next->curve].label);
    put_ratio(out, v->g, next, best);
    fprintf(out, "<td>%" PRId64 "</td>", n_sharing(v, at));
    if (has_bounds(v->g)) {
        sb_report_real_cell(out, bound_error(v, at, "oracle"), "");
        sb_report_real_cell(out, bound_error(v, at, "random"), "");
    }
    fputs("</tr>\n", out);
}

static void put_best_table(FILE *out, const levels *v, double dense)
{
    bool model = sb_report_is_model(v->g);
    const char *heads[] = {cost_name(v), "least error", error_name(v), "next",
                           "its error",  "curves",      "oracle",      "random"};
    bool bounds = has_bounds(v->g);
    char reference[80] = "", note[600];
    if (isfinite(dense))
        (void)snprintf(reference, sizeof reference, " Dense attention itself: %.3g.", dense);
    (void)snprintf(note, sizeof note,
                   "%s, geometric mean over %s, of settings within %.0f %% of each %s. %s%s%s%s",
                   error_name(v), model ? "texts" : "layers", 100 * (tolerance - 1), cost_name(v),
                   v->by_flops ? "Budget = (FLOPs of attending + of selecting) / dense FLOPs."
                               : "Density = kept / all causal blocks, forced blocks included.",
                   model ? " It is of all layers and heads; in decoding, of the prefill alone. In "
                           "brackets 95 % t intervals, paired over texts (four or more)."
                         : "",
                   bounds ? " Oracle and random selection are bounds, and never the best." : "",
                   reference);
    sb_report_open_table(out, v->g, v->tokens, "Least error at equal cost", note, heads,
                         bounds ? 8 : 6);
    for (int i = 0; i < v->n; i++)
        put_best_row(out, v, v->at[i]);
    sb_report_close_table(out);
}

static void put_curve_row(FILE *out, const levels *v, int64_t curve)
{
    fputs("<tr>", out);
    sb_report_label(out, v->g->curves[curve].label);
    for (int i = 0; i < v->n; i++) {
        const sb_plot_point *p = point_at(v, curve, v->at[i]);
        const sb_plot_point *best = least_error(v, v->at[i], NULL);
        if (!p)
            fputs("<td>–</td>", out);
        else if (p == best)
            fprintf(out, "<td><strong>%.3g</strong></td>", p->rel_l2);
        else
            fprintf(out, "<td>%.3g (%.2f×)</td>", p->rel_l2, p->rel_l2 / best->rel_l2);
    }
    fputs("</tr>\n", out);
}

static bool has_a_level(const levels *v, int64_t curve)
{
    for (int i = 0; i < v->n; i++)
        if (point_at(v, curve, v->at[i]))
            return true;
    return false;
}

/* All curves against the best: one column for each cost. */
static void put_all(FILE *out, const levels *v)
{
    char cells[MAX_LEVELS][24], note[80];
    const char *heads[MAX_LEVELS + 1] = {"curve"};
    for (int i = 0; i < v->n; i++) {
        (void)snprintf(cells[i], sizeof cells[i], "%s %.3g", cost_name(v), v->at[i]);
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

static void put_length(FILE *out, const sb_plot_group *g, int64_t length)
{
    levels v = {.g = g, .tokens = g->lengths[length]};
    bool longest = length == g->n_lengths - 1;
    find_matched(&v);
    find_levels(&v);
    if (v.n == 0)
        return;
    if (!longest)
        fprintf(out, "<details><summary>Least error at %" PRId64 " tokens</summary>\n", v.tokens);
    put_best_table(out, &v, g->dense_rel_l2[length]);
    put_all(out, &v);
    fputs(longest ? "" : "</details>\n", out);
}

void sb_report_write_best(FILE *out, const sb_plot_group *g)
{
    for (int64_t i = g->n_lengths - 1; i >= 0; i--)
        put_length(out, g, i);
}
