#include "harness/plot_lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/mem.h"

/* Budgets are equal up to this share. */
static const double tolerance = .02;

/* Whether b has all values of a, but for `skip` and for budgets of the method, which may be NULL.
 */
static bool covers(const char *a, const char *b, sb_span skip, const char *method)
{
    sb_span name, value;
    for (const char *at = a; sb_param_next(&at, &name, &value);)
        if (!sb_span_same(name, skip) && !sb_span_same(value, sb_param_value(b, name)) &&
            !(method && sb_param_is_budget(method, name)))
            return false;
    return true;
}

static bool alike(const char *a, const char *b, sb_span skip, const char *method)
{
    return covers(a, b, skip, method) && covers(b, a, skip, method);
}

static const char *matched(const sb_plot_point *p)
{
    const char *text = p->cells[0]->match_target;
    return text ? text : "";
}

/* A density that was asked for, where both were, else the one that came out. */
static bool same_target(const sb_plot_point *p, const sb_plot_point *q, sb_span skip)
{
    sb_span total = sb_span_of("schedule.total");
    double x, y;
    if (*matched(p) || *matched(q))
        return alike(matched(p), matched(q), skip, NULL);
    if (!sb_span_number(sb_param_value(p->cells[0]->params, total), &x) ||
        !sb_span_number(sb_param_value(q->cells[0]->params, total), &y)) {
        x = p->density;
        y = q->density;
    }
    return fabs(x / y - 1) <= tolerance;
}

static bool same_line(const sb_plot_point *p, const sb_plot_point *q, sb_span name)
{
    const sb_record *a = p->cells[0], *b = q->cells[0];
    return strcmp(a->method, b->method) == 0 && same_target(p, q, name) &&
           alike(a->params, b->params, name, a->method);
}

/* Every setting is held against a line's first one. Returns n_lines where it opens a line, and -1
 * where the line has that x. */
static int64_t line_of(const sb_sweep_panel *p, const sb_plot_point *point, double x)
{
    int64_t opened = 0, line = p->n_lines;
    for (int64_t i = 0; i < p->n_stops && line == p->n_lines; i++) {
        const sb_sweep_stop *s = &p->stops[i];
        if (s->line != opened)
            continue;
        opened++;
        if (same_line(s->point, point, p->name))
            line = s->line;
    }
    for (int64_t i = 0; i < p->n_stops; i++)
        if (p->stops[i].line == line && p->stops[i].x == x)
            return -1;
    return line;
}

/* Nearly equal densities are one, so that lines stay in order. */
static double rough(double density)
{
    return round(log(density) / .05);
}

static int by_line(const void *a, const void *b)
{
    const sb_sweep_stop *s = a, *t = b;
    double d = rough(s->target) - rough(t->target);
    if (d != 0)
        return d < 0 ? -1 : 1;
    if (s->line != t->line)
        return s->line < t->line ? -1 : 1;
    return s->x < t->x ? -1 : s->x > t->x;
}

/* Remove the stops of line -1 and renumber the lines; stops are sorted. */
static void compact(sb_sweep_panel *p)
{
    int64_t n = 0, before = -1;
    p->n_lines = 0;
    for (int64_t i = 0; i < p->n_stops; i++) {
        int64_t line = p->stops[i].line;
        if (line < 0)
            continue;
        p->n_lines += line != before;
        before = line;
        p->stops[n] = p->stops[i];
        p->stops[n++].line = p->n_lines - 1;
    }
    p->n_stops = n;
}

static void drop_short(sb_sweep_panel *p)
{
    for (int64_t i = 0, end; i < p->n_stops; i = end) {
        for (end = i + 1; end < p->n_stops && p->stops[end].line == p->stops[i].line;)
            end++;
        for (int64_t k = i; end - i < SB_SWEEP_VALUES && k < end; k++)
            p->stops[k].line = -1;
    }
    compact(p);
}

/* ---- scale ---------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The widest gap between neighbours as a share of the whole, of sorted values. */
static double widest(const double *x, int64_t n, bool logs)
{
    double most = 0, all = logs ? log(x[n - 1] / x[0]) : x[n - 1] - x[0];
    for (int64_t i = 1; i < n; i++)
        most = fmax(most, (logs ? log(x[i] / x[i - 1]) : x[i] - x[i - 1]) / all);
    return most;
}

static sb_status find_scale(sb_sweep_panel *p, sb_err *err)
{
    bool powers = true;
    int64_t n = p->n_stops;
    double *x = sb_alloc(n, sizeof *x);
    if (!x)
        return sb_no_memory(err, "sweeps");
    for (int64_t i = 0; i < n; i++) {
        int exponent;
        x[i] = p->stops[i].x;
        powers &= x[i] > 0 && frexp(x[i], &exponent) == .5;
    }
    qsort(x, (size_t)n, sizeof *x, ascending);
    p->scale = powers ? "log2" : "linear";
    if (!powers && x[0] > 0 && x[n - 1] >= 10 * x[0] && widest(x, n, true) < widest(x, n, false))
        p->scale = "log";
    sb_free(x);
    return SB_OK;
}

/* ---- panels -------------------------------------------------------------------------------- */

sb_status sb_sweep_find(const sb_plot_group *g, sb_span name, sb_sweep_panel *p, sb_err *err)
{
    *p = (sb_sweep_panel){.name = name, .stops = sb_alloc(g->n_points, sizeof *p->stops)};
    if (!p->stops)
        return sb_no_memory(err, "sweeps");
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *point = &g->points[i];
        const sb_record *r = point->cells[0];
        double x;
        if (point->tokens != g->lengths[g->n_lengths - 1] || !(point->rel_l2 > 0) ||
            !isfinite(point->rel_l2) || sb_param_is_budget(r->method, name) ||
            !sb_span_number(sb_param_value(r->params, name), &x))
            continue;
        int64_t line = line_of(p, point, x);
        if (line < 0)
            continue;
        double target = point->density;
        for (int64_t k = p->n_stops - 1; k >= 0; k--)
            target = p->stops[k].line == line ? p->stops[k].target : target;
        p->n_lines += line == p->n_lines;
        p->stops[p->n_stops++] = (sb_sweep_stop){point, x, target, line};
    }
    qsort(p->stops, (size_t)p->n_stops, sizeof *p->stops, by_line);
    drop_short(p);
    return p->n_lines > 0 ? find_scale(p, err) : SB_OK;
}

void sb_sweep_thin(sb_sweep_panel *p, int64_t most)
{
    for (int64_t i = 0; i < p->n_stops && p->n_lines > most; i++) {
        bool shown = false;
        for (int64_t k = 0; k < most; k++)
            shown |= p->stops[i].line == (most > 1 ? k * (p->n_lines - 1) / (most - 1) : 0);
        if (!shown)
            p->stops[i].line = -1;
    }
    compact(p);
}
