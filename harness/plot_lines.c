#include "harness/plot_lines.h"

#include <math.h>
#include <stdlib.h>

#include "harness/equal.h"
#include "harness/mem.h"

/* Budgets are equal up to this share. */
static const double tolerance = .02;

static const char *matched(const sb_plot_point *p)
{
    const char *text = p->cells[0]->match_target;
    return text ? text : "";
}

/* What settings of a line have in common but for their target of density. */
static char *family_text(const void *things, int64_t i)
{
    const sb_sweep_panel *panel = things;
    const sb_plot_point *p = panel->stops[i].point;
    const sb_record *r = p->cells[0];
    char *own = sb_params_key(r->method ? r->method : "", r->params, panel->name);
    char *to = sb_params_key(NULL, matched(p), panel->name);
    char *text = own && to ? sb_sprintf("%s%s", own, to) : NULL;
    sb_free(to);
    sb_free(own);
    return text;
}

/* Of two settings of one family. A density that was asked for, where both were, else the one that
 * came out. */
static bool same_target(const sb_plot_point *p, const sb_plot_point *q)
{
    sb_span total = sb_span_of("schedule.total");
    double x, y;
    if (*matched(p) || *matched(q))
        return true;
    if (!sb_span_number(sb_param_value(p->cells[0]->params, total), &x) ||
        !sb_span_number(sb_param_value(q->cells[0]->params, total), &y)) {
        x = p->density;
        y = q->density;
    }
    return fabs(x / y - 1) <= tolerance;
}

/* The stops of the first lines of families and of each line's next in its family. */
typedef struct openers {
    int64_t *family; /* of each stop the first stop of its family */
    int64_t *next;   /* of a stop that opens a line: the one that opens the next of the family, or
                        -1 */
} openers;

/* Give every stop its line: every setting is held against the first ones of its family's lines. */
static void find_lines(sb_sweep_panel *p, const openers *o)
{
    for (int64_t i = 0; i < p->n_stops; i++) {
        sb_sweep_stop *s = &p->stops[i];
        int64_t at = o->family[i], last = -1;
        while (at >= 0 && at < i && !same_target(p->stops[at].point, s->point)) {
            last = at;
            at = o->next[at];
        }
        bool opens = at < 0 || at == i;
        o->next[i] = -1;
        if (opens && last >= 0)
            o->next[last] = i;
        s->line = opens ? p->n_lines++ : p->stops[at].line;
        s->target = opens ? s->point->density : p->stops[at].target;
    }
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
    if (s->x != t->x)
        return s->x < t->x ? -1 : 1;
    return s->point < t->point ? -1 : s->point > t->point;
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

/* Of stops with the same x on a line the first remains. */
static void drop_repeats(sb_sweep_panel *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_stops; i++)
        if (n == 0 || p->stops[n - 1].line != p->stops[i].line ||
            p->stops[n - 1].x != p->stops[i].x)
            p->stops[n++] = p->stops[i];
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

/* The settings of the longest length that have a number of that name. */
static void find_stops(const sb_plot_group *g, sb_sweep_panel *p)
{
    for (int64_t i = 0; i < g->n_points; i++) {
        const sb_plot_point *point = &g->points[i];
        const sb_record *r = point->cells[0];
        double x;
        if (point->tokens == sb_plot_longest(g) && point->rel_l2 > 0 && isfinite(point->rel_l2) &&
            !sb_param_is_budget(r->method, p->name) &&
            sb_span_number(sb_param_value(r->params, p->name), &x))
            p->stops[p->n_stops++] = (sb_sweep_stop){.point = point, .x = x};
    }
}

sb_status sb_sweep_find(const sb_plot_group *g, sb_span name, sb_sweep_panel *p, sb_err *err)
{
    sb_status st = SB_OK;
    *p = (sb_sweep_panel){.name = name, .stops = sb_alloc(g->n_points, sizeof *p->stops)};
    const openers o = {.family = sb_alloc(g->n_points, sizeof *o.family),
                       .next = sb_alloc(g->n_points, sizeof *o.next)};
    SB_CHECK(p->stops && o.family && o.next, err, SB_NO_MEMORY, "out of memory for sweeps");
    find_stops(g, p);
    SB_TRY(sb_first_equal(p, p->n_stops, family_text, o.family, err));
    find_lines(p, &o);
    qsort(p->stops, (size_t)p->n_stops, sizeof *p->stops, by_line);
    drop_repeats(p);
    drop_short(p);
    if (p->n_lines > 0)
        SB_TRY(find_scale(p, err));
out:
    sb_free(o.next);
    sb_free(o.family);
    return st;
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
