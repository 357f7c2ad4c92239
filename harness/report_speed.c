/* What is fastest within an error, and from where on curves are faster than dense attention. */
#include <inttypes.h>
#include <math.h>

#include "harness/report_text.h"
#include "harness/report_view.h"

enum { MAX_ERRORS = 3 };

static int64_t longest(const sb_plot_group *g)
{
    return g->lengths[g->n_lengths - 1];
}

static double dense_ms(const sb_plot_group *g)
{
    return g->dense_ms[g->n_lengths - 1];
}

/* ---- the fastest within an error -------------------------------------------------------- */

static bool competes(const sb_plot_group *g, const sb_plot_point *p)
{
    return p->tokens == longest(g) && isfinite(p->rel_l2) && isfinite(p->total_ms) &&
           !sb_report_is_bound(&g->curves[p->curve]);
}

static const sb_plot_point *fastest(const sb_plot_group *g, double error)
{
    const sb_plot_point *best = NULL;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        if (competes(g, p) && p->rel_l2 <= error && (!best || p->total_ms < best->total_ms))
            best = p;
    }
    return best;
}

static double step(int i)
{
    static const double steps[] = {1, 2, 5};
    return steps[i % 3] * pow(10, i / 3 - 6);
}

/* Round errors (1, 2 or 5 times a power of ten) between which the settings lie: the least, the
 * largest and one in the middle. */
static int round_errors(const sb_plot_group *g, double *errors)
{
    enum { STEPS = 22 }; /* 1e-6 to 10 */
    int first = -1, last = -1;
    for (int i = 0; i < STEPS; i++) {
        const sb_plot_point *p = fastest(g, step(i)), *before = i > 0 ? fastest(g, step(i - 1)) : p;
        if (p && first < 0)
            first = i;
        if (p != before)
            last = i; /* what larger errors allow is no faster from here on */
    }
    if (first < 0)
        return 0;
    int n = last - first + 1 < MAX_ERRORS ? last - first + 1 : MAX_ERRORS;
    for (int i = 0; i < n; i++)
        errors[i] = step(n == 1 ? first : first + (last - first) * i / (n - 1));
    return n;
}

static void put_fastest(FILE *out, const sb_plot_group *g, double error)
{
    const sb_plot_point *p = fastest(g, error);
    double dense = dense_ms(g);
    fprintf(out, "<tr><th scope=\"row\">%.3g</th>", error);
    sb_report_text_cell(out, g->curves[p->curve].label);
    sb_report_real_cell(out, p->density, "");
    sb_report_real_cell(out, p->rel_l2, "");
    sb_report_real_cell(out, p->total_ms, "");
    if (isfinite(dense) && isfinite(p->total_ms_lo))
        fprintf(out, "<td>%.3g× (%.3g to %.3g)</td>", dense / p->total_ms, dense / p->total_ms_hi,
                dense / p->total_ms_lo);
    else
        sb_report_real_cell(out, dense / p->total_ms, "×");
    fputs("</tr>\n", out);
}

static void put_speed(FILE *out, const sb_plot_group *g)
{
    static const char *const heads[] = {"error at most", "fastest",  "density",
                                        "rel_l2",        "total ms", "speedup"};
    double errors[MAX_ERRORS];
    int n = round_errors(g, errors);
    if (n == 0)
        return;
    sb_report_open_table(out, g, longest(g), "Fastest within an error",
                         "Times are selecting + attending, means over "
                         "layers of medians; speedup over dense in the same rounds, in brackets "
                         "with the ends of the time's 95 % interval.",
                         heads, sizeof heads / sizeof heads[0]);
    for (int i = 0; i < n; i++)
        put_fastest(out, g, errors[i]);
    sb_report_close_table(out);
}

/* ---- break-even ------------------------------------------------------------------------- */

/* Below which density a curve is faster than dense at the longest length: between two settings by
 * logarithms. Writes "> 0.5" where it is at the densest, "< 0.1" where it is at none. */
static void break_even_density(FILE *out, const sb_plot_group *g, int64_t curve)
{
    const sb_plot_point *ahead = NULL, *behind = NULL;
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *p = &g->points[i];
        if (p->curve != curve || p->tokens != longest(g) || !isfinite(p->total_ms))
            continue;
        if (p->total_ms <= dense_ms(g) && !behind)
            ahead = p;
        else if (!behind)
            behind = p;
    }
    if (!behind) {
        fprintf(out, "<td>&gt; %.3g</td>", ahead->density);
    } else if (!ahead) {
        fprintf(out, "<td>&lt; %.3g</td>", behind->density);
    } else {
        double share = log(dense_ms(g) / ahead->total_ms) / log(behind->total_ms / ahead->total_ms);
        sb_report_real_cell(out, ahead->density * pow(behind->density / ahead->density, share), "");
    }
}

static bool timed(const sb_plot_group *g, int64_t curve)
{
    for (int64_t i = 0; i < g->n_points; i++)
        if (g->points[i].curve == curve && g->points[i].tokens == longest(g) &&
            isfinite(g->points[i].total_ms))
            return isfinite(dense_ms(g));
    return false;
}

static void put_break_even(FILE *out, const sb_plot_group *g, int64_t curve, double density)
{
    char from[64] = "–";
    fputs("<tr>", out);
    sb_report_label(out, g->curves[curve].label);
    break_even_density(out, g, curve);
    if (g->n_lengths > 1) {
        if (sb_plot_nearest(g, curve, longest(g), density))
            sb_plot_break_even(g, curve, density, from, sizeof from);
        sb_report_text_cell(out, from);
    }
    fputs("</tr>\n", out);
}

static void open_break_evens(FILE *out, const sb_plot_group *g, double density)
{
    static const char *const heads[] = {"curve", "faster below density", "faster from tokens"};
    char lengths[200] = "", note[400];
    if (g->n_lengths > 1)
        (void)snprintf(lengths, sizeof lengths,
                       ", and the length from which it is at the settings nearest to density %.2f "
                       "and within a factor of 1.5",
                       density);
    (void)snprintf(note, sizeof note,
                   "The density below which a curve is faster at %" PRId64 " tokens%s. > and < say "
                   "that it lies beyond what was run.",
                   longest(g), lengths);
    sb_report_open_table(out, g, longest(g), "Break-even with dense attention", note, heads,
                         g->n_lengths > 1 ? 3 : 2);
}

static void put_break_evens(FILE *out, const sb_plot_group *g)
{
    double density = sb_plot_density(g, 0);
    bool open = false;
    for (int64_t c = 0; c < g->n_curves; c++) {
        if (g->curves[c].slot == 0 || sb_report_is_bound(&g->curves[c]) || !timed(g, c))
            continue;
        if (!open)
            open_break_evens(out, g, density);
        open = true;
        put_break_even(out, g, c, density);
    }
    if (open)
        sb_report_close_table(out);
}

void sb_report_write_speed(FILE *out, const sb_plot_group *g)
{
    put_speed(out, g);
    put_break_evens(out, g);
}
